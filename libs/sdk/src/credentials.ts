import { readFileSync } from 'node:fs';
import { join } from 'node:path';

export interface Credentials {
  apiUrl: string;
  /** `Authorization: Bearer <id>.<secret>` */
  tokenId?: string;
  tokenSecret?: string;
  /** `x-api-key`, in place of a token. */
  apiKey?: string;
  /** A Unix socket to speak HTTP on: inside a container it stands for the credential of its own run. */
  socketPath?: string;
}

/**
 * Credentials from the environment (`BERTH_API_URL` with `BERTH_TOKEN_ID` and `BERTH_TOKEN_SECRET`, or with
 * `BERTH_API_KEY`), inside a container its own run's (`BERTH_API_SOCKET`, which may call functions), else from the `credentials.json` that `berth up` left in `BERTH_DATA_DIR` (default `.berth`).
 * Throws, saying what to set, when there are none.
 */
export function findCredentials(env: NodeJS.ProcessEnv = process.env): Credentials {
  const { BERTH_API_URL, BERTH_TOKEN_ID, BERTH_TOKEN_SECRET, BERTH_API_KEY, BERTH_API_SOCKET } = env;
  if (BERTH_API_KEY && BERTH_API_URL) return { apiUrl: BERTH_API_URL, apiKey: BERTH_API_KEY };
  if (BERTH_TOKEN_ID && BERTH_TOKEN_SECRET && BERTH_API_URL) {
    return { apiUrl: BERTH_API_URL, tokenId: BERTH_TOKEN_ID, tokenSecret: BERTH_TOKEN_SECRET };
  }
  if (BERTH_API_SOCKET) return { apiUrl: 'http://berth', socketPath: BERTH_API_SOCKET };
  const path = join(env.BERTH_DATA_DIR || '.berth', 'credentials.json');
  let file: { api_url: string; token_id: string; token_secret: string };
  try {
    file = JSON.parse(readFileSync(path, 'utf8'));
  } catch (cause) {
    throw new Error(
      `No credentials: ${path} cannot be read. Start Berth with npm start, run this where its data folder is, or set ` +
        'BERTH_DATA_DIR, or BERTH_API_URL, BERTH_TOKEN_ID and BERTH_TOKEN_SECRET.',
      { cause },
    );
  }
  return { apiUrl: BERTH_API_URL || file.api_url, tokenId: file.token_id, tokenSecret: file.token_secret };
}
