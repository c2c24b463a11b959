import { IdentityServiceService } from '@berth/contracts/identity/v1/identity';
import { ProxyTokenServiceService } from '@berth/contracts/identity/v1/proxy_tokens';
import { defineService, implement, type ServiceModule } from '@berth/service-kit';
import { createContext } from './context';
import { authenticate } from './rpc/authenticate';
import { authenticateProxyToken } from './rpc/authenticate-proxy-token';
import { createApiToken } from './rpc/create-api-token';
import { createOrganization } from './rpc/create-organization';
import { createProxyToken } from './rpc/create-proxy-token';
import { issueContainerToken } from './rpc/issue-container-token';
import { listApiTokens } from './rpc/list-api-tokens';
import { listProxyTokens } from './rpc/list-proxy-tokens';
import { revokeApiToken } from './rpc/revoke-api-token';
import { revokeProxyToken } from './rpc/revoke-proxy-token';
import { whoAmI } from './rpc/who-am-i';
import { schema } from './store/schema';

export const identity: ServiceModule = defineService(
  'identity',
  async (base) => {
    const context = await createContext(base);
    return {
      services: [
        implement(IdentityServiceService, {
          authenticate: authenticate(context),
          createOrganization: createOrganization(context),
          createApiToken: createApiToken(context),
          listApiTokens: listApiTokens(context),
          revokeApiToken: revokeApiToken(context),
          whoAmI: whoAmI(context),
          issueContainerToken: issueContainerToken(context),
        }),
        implement(ProxyTokenServiceService, {
          createProxyToken: createProxyToken(context),
          listProxyTokens: listProxyTokens(context),
          revokeProxyToken: revokeProxyToken(context),
          authenticateProxyToken: authenticateProxyToken(context),
        }),
      ],
      async begin() {
        context.relay.start();
      },
      [Symbol.asyncDispose]: () => context[Symbol.asyncDispose](),
    };
  },
  schema,
);
