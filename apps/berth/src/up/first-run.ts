/**
 * Steps of `berth up`: programs that run once, each as `step.js <name>` with the environment of all services, the
 * superuser's `BERTH_POSTGRES_URL`, and `BERTH_API_URL` and `BERTH_GRPC_URL` of the gateway. What a step prints is
 * for the user; what it throws stops the start.
 */
export type Step = (env: NodeJS.ProcessEnv, say: (line: string) => void) => Promise<void>;

/** Before the services: databases, roles and migrations. */
export const BEFORE_SERVICES = ['migrate'] as const;

/** When the services are ready, in this order: the first credentials, then a real function in a real container. */
export const AFTER_SERVICES = ['bootstrap', 'prove'] as const;
