import { ShellServiceService } from '@berth/contracts/gateway/v1/shell';
import { WebServiceService } from '@berth/contracts/gateway/v1/web';
import { connect, type ClientOf, type Tokens } from '@berth/service-kit';
import { LRUCache } from 'lru-cache';

type Gateway = ClientOf<typeof WebServiceService>;
type ShellGateway = ClientOf<typeof ShellServiceService>;

/** Lines to the gateways that hold web requests and shells, each dialled at the address that a request names. */
export interface Gateways {
  at(address: string): Gateway;
  shellsAt(address: string): ShellGateway;
  close(): void;
}

const KEPT_MAX = 64;

export function openGateways(tokens: Tokens): Gateways {
  const gateways = dialled((address) => connect(WebServiceService, address, tokens));
  const shells = dialled((address) => connect(ShellServiceService, address, tokens));
  return {
    at: gateways.at,
    shellsAt: shells.at,
    close() {
      gateways.close();
      shells.close();
    },
  };
}

function dialled<T extends { close(): void }>(dial: (address: string) => T) {
  const kept = new LRUCache<string, T & object>({ max: KEPT_MAX, dispose: (client) => client.close() });
  return {
    at(address: string): T {
      const known = kept.get(address);
      if (known) return known;
      const client = dial(address);
      kept.set(address, client);
      return client;
    },
    close: () => kept.clear(),
  };
}
