import nx from '@nx/eslint-plugin';
import tseslint from 'typescript-eslint';

const guide = 'See "Rules that hold everywhere" in docs/guides/architecture.md.';

/** Infrastructure that a decision must not know: it is given facts and returns a decision. */
const infrastructure = [
  {
    group: ['**/rpc/**', '**/store/**', '**/loops/**', '**/migrations/**'],
    message: `domain/ is pure: it may not reach into rpc, store, loops or migrations. ${guide}`,
  },
  {
    group: [
      'typeorm',
      'typeorm/**',
      'pg',
      'pg/**',
      '@grpc/**',
      '@nats-io/**',
      'fastify',
      'dockerode',
      'undici',
    ],
    message: `domain/ is pure: it may not know databases, transports or engines. ${guide}`,
  },
  {
    group: ['@berth/database', '@berth/events', '@berth/container-engine', '@berth/testing'],
    message: `domain/ is pure: it may not know databases, transports or engines. ${guide}`,
  },
];

const services = {
  group: ['@berth/apps/*'],
  message: `Only apps/berth composes services; others call a service's gRPC contract. ${guide}`,
};

/** Apps use libs, libs never use apps, apps never import apps. */
const boundaries = {
  // A lib may name itself by its alias: generated code and tests read the same inside and outside.
  allowCircularSelfDependency: true,
  // The version that the platform says it is.
  allow: ['../../../package.json'],
  depConstraints: [
    { sourceTag: 'type:app', onlyDependOnLibsWithTags: ['type:lib'] },
    { sourceTag: 'type:lib', onlyDependOnLibsWithTags: ['type:lib'] },
  ],
};

export default tseslint.config(
  { ignores: ['**/node_modules', 'dist', '.berth', '.nx', 'libs/contracts/src/generated', 'coverage'] },
  ...tseslint.configs.recommended,
  {
    files: ['**/*.ts', '**/*.mjs', '**/*.js'],
    plugins: { '@nx': nx },
    rules: {
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
    },
  },
  {
    files: ['**/*.js', '**/*.cjs'],
    // Files that tools load as CommonJS (jest.config.js), and workers without dependencies.
    rules: { '@typescript-eslint/no-require-imports': 'off' },
  },
  {
    files: ['apps/**/*.ts', 'libs/**/*.ts'],
    rules: {
      '@nx/enforce-module-boundaries': ['error', boundaries],
      'no-restricted-imports': ['error', { patterns: [services] }],
    },
  },
  {
    files: ['apps/berth/**/*.ts'],
    rules: {
      // The one app that composes services, and only by their `service.ts`.
      '@nx/enforce-module-boundaries': [
        'error',
        { ...boundaries, allow: [...boundaries.allow, '@berth/apps/*'] },
      ],
      'no-restricted-imports': 'off',
    },
  },
  {
    files: ['apps/*/src/domain/**/*.ts', 'libs/*/src/domain/**/*.ts'],
    ignores: ['**/*.test.ts'],
    rules: { 'no-restricted-imports': ['error', { patterns: [services, ...infrastructure] }] },
  },
);
