/** Shared by every project: TypeScript through swc, the workspace's aliases, Node only. */
const preset = {
  testEnvironment: 'node',
  transform: {
    '^.+\\.(ts|m?js)$': [
      '@swc/jest',
      {
        jsc: {
          target: 'es2023',
          parser: { syntax: 'typescript', decorators: true },
          transform: { legacyDecorator: true },
        },
        module: { type: 'commonjs' },
      },
    ],
  },
  moduleNameMapper: {
    '^@berth/contracts$': '<rootDir>/libs/contracts/src/index.ts',
    '^@berth/contracts/(.*)$': '<rootDir>/libs/contracts/src/generated/berth/$1.ts',
    '^@berth/apps/(.*)$': '<rootDir>/apps/$1/src/service.ts',
    '^@berth/([^/]+)$': '<rootDir>/libs/$1/src/index.ts',
  },
  // These packages ship ES modules only; swc turns them into CommonJS for jest.
  transformIgnorePatterns: ['/node_modules/(?!(jose|lru-cache)/)'],
  testTimeout: 60_000,
};

module.exports = {
  ...preset,
  rootDir: __dirname,
  globalSetup: '<rootDir>/libs/testing/src/global-setup.ts',
  globalTeardown: '<rootDir>/libs/testing/src/global-teardown.ts',
  testMatch: ['<rootDir>/{apps,libs,tools}/**/*.test.ts'],
  modulePathIgnorePatterns: ['<rootDir>/dist', '<rootDir>/.berth'],
  testPathIgnorePatterns: ['/node_modules/', '/dist/'],
};
