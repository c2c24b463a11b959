import { BerthApiError, type Http } from './http';

/** A secret as lists show it: the names of its variables, never their values. */
export interface Secret {
  secret_id: string;
  name: string;
  environment: string;
  variables: string[];
  created_at: string;
  updated_at: string;
}

/** Variables for containers, sealed at rest; functions name them. */
export class Secrets {
  constructor(private readonly http: Http) {}

  create(name: string, env: Record<string, string>, environment?: string): Promise<Secret> {
    return this.http.json('POST', '/v1/secrets', {
      body: { name, env, ...(environment ? { environment } : {}) },
    });
  }

  /** Replaces all variables; containers that start from then on have the new ones. */
  update(secretId: string, env: Record<string, string>): Promise<Secret> {
    return this.http.json('PUT', `/v1/secrets/${encodeURIComponent(secretId)}`, { body: { env } });
  }

  get(secretId: string): Promise<Secret> {
    return this.http.json('GET', `/v1/secrets/${encodeURIComponent(secretId)}`);
  }

  list(filter: { environment?: string; name?: string } = {}): AsyncGenerator<Secret> {
    return this.http.pages('/v1/secrets', { query: filter });
  }

  delete(secretId: string): Promise<void> {
    return this.http.json('DELETE', `/v1/secrets/${encodeURIComponent(secretId)}`);
  }

  /** The secret of this name; undefined when there is none. */
  async find(name: string, environment = 'main'): Promise<Secret | undefined> {
    for await (const secret of this.list({ name, environment })) return secret;
    return undefined;
  }

  /** Makes the secret, or gives it these variables in place of those that it has. */
  async put(name: string, env: Record<string, string>, environment?: string): Promise<Secret> {
    try {
      return await this.create(name, env, environment);
    } catch (error) {
      const isTaken = error instanceof BerthApiError && error.code === 'already_exists';
      const existing = isTaken ? await this.find(name, environment) : undefined;
      if (!existing) throw error;
      return this.update(existing.secret_id, env);
    }
  }
}
