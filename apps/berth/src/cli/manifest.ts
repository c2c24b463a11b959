import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';

/** One function, as `berth.json` has it. */
export const functionSchema = z.strictObject({
  name: z.string().min(1),
  runtime: z.enum(['python', 'node']),
  handler: z.string().min(1),
  // Or what it is made of, which the platform checks.
  image: z.union([z.string(), z.record(z.string(), z.unknown())]).optional(),
  gpu: z.union([z.string(), z.array(z.string())]).optional(),
  cpu: z.number().optional(),
  memory: z.number().optional(),
  timeout: z.number().optional(),
  retries: z.number().optional(),
  retry_delay: z
    .strictObject({
      first: z.number().optional(),
      backoff: z.number().optional(),
      max: z.number().optional(),
    })
    .optional(),
  startup_timeout: z.number().optional(),
  buffer_containers: z.number().optional(),
  schedule: z
    .union([
      z.strictObject({ cron: z.string(), timezone: z.string().optional() }),
      z.strictObject({ period: z.number() }),
    ])
    .optional(),
  min_containers: z.number().optional(),
  max_containers: z.number().optional(),
  scaledown_window: z.number().optional(),
  env: z.record(z.string(), z.string()).optional(),
  secrets: z.array(z.string()).optional(),
  volumes: z.record(z.string(), z.string()).optional(),
  max_concurrent_inputs: z.number().optional(),
  batching: z.strictObject({ max_batch_size: z.number(), wait_ms: z.number().optional() }).optional(),
  web: z
    .strictObject({
      kind: z.enum(['endpoint', 'asgi', 'wsgi', 'server']),
      method: z.string().optional(),
      port: z.number().optional(),
      requires_proxy_auth: z.boolean().optional(),
    })
    .optional(),
});

const manifestSchema = z.strictObject({
  app: z.string().min(1),
  environment: z.string().optional(),
  functions: z.array(functionSchema).min(1),
});

export type Manifest = z.output<typeof manifestSchema>;

/**
 * Reads `berth.json` in `folder`: the app's name and its functions, with the field names of the REST API.
 * Throws one error that lists every problem.
 */
export function readManifest(folder: string): Manifest {
  const path = join(folder, 'berth.json');
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (cause) {
    throw new Error(
      `There is no ${path}. It names the app and its functions, for example:\n` +
        '  {"app": "hello", "functions": [{"name": "greet", "runtime": "python", "handler": "main:greet"}]}',
      { cause },
    );
  }
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch (cause) {
    throw new Error(`${path} is not JSON: ${(cause as Error).message}`, { cause });
  }
  const parsed = manifestSchema.safeParse(document);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map(
    (issue) => `  ${issue.path.join('.') || 'document'}: ${issue.message}`,
  );
  throw new Error(`${path} has problems:\n${problems.join('\n')}`);
}
