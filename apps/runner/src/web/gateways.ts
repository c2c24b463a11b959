import { WebServiceService } from '@berth/contracts/gateway/v1/web';
import { connect, type ClientOf, type Tokens } from '@berth/service-kit';
import { LRUCache } from 'lru-cache';

type Gateway = ClientOf<typeof WebServiceService>;

/** Lines to the gateways that hold web requests, each dialled at the address that a request names. */
export interface Gateways {
  at(address: string): Gateway;
  close(): void;
}

const KEPT_MAX = 64;

export function openGateways(tokens: Tokens): Gateways {
  const kept = new LRUCache<string, Gateway>({ max: KEPT_MAX, dispose: (gateway) => gateway.close() });
  return {
    at(address) {
      const known = kept.get(address);
      if (known) return known;
      const gateway = connect(WebServiceService, address, tokens);
      kept.set(address, gateway);
      return gateway;
    },
    close: () => kept.clear(),
  };
}
