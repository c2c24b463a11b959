/** Which addresses a webhook may reach: what is not on the internet is the platform's own, and its neighbours'. */
import { BlockList, isIP } from 'node:net';

type Family = 'ipv4' | 'ipv6';

/** Of the IANA special-purpose registries (RFC 6890 and its updates): nothing that a stranger may be sent to. */
const PRIVATE: [string, number, Family][] = [
  ['0.0.0.0', 8, 'ipv4'],
  ['10.0.0.0', 8, 'ipv4'],
  ['100.64.0.0', 10, 'ipv4'],
  ['127.0.0.0', 8, 'ipv4'],
  ['169.254.0.0', 16, 'ipv4'],
  ['172.16.0.0', 12, 'ipv4'],
  ['192.0.0.0', 24, 'ipv4'],
  ['192.0.2.0', 24, 'ipv4'],
  ['192.88.99.0', 24, 'ipv4'],
  ['192.168.0.0', 16, 'ipv4'],
  ['198.18.0.0', 15, 'ipv4'],
  ['198.51.100.0', 24, 'ipv4'],
  ['203.0.113.0', 24, 'ipv4'],
  ['224.0.0.0', 4, 'ipv4'],
  ['240.0.0.0', 4, 'ipv4'],
];

/** All of IPv6 that is not global unicast, and what of that stands for an IPv4 address or for nothing. */
const GLOBAL_V6: [string, number] = ['2000::', 3];
const PRIVATE_V6: [string, number][] = [
  ['2001::', 23],
  ['2001:db8::', 32],
  ['2002::', 16],
  ['3fff::', 20],
];

const refused = new BlockList();
for (const [address, prefix, family] of PRIVATE) refused.addSubnet(address, prefix, family);
for (const [address, prefix] of PRIVATE_V6) refused.addSubnet(address, prefix, 'ipv6');
const global = new BlockList();
global.addSubnet(...GLOBAL_V6, 'ipv6');

/** Networks such as `10.0.0.0/8` or `fd00::/8`; undefined for text that is none. */
export function readNetworks(text: string): BlockList | undefined {
  const list = new BlockList();
  for (const network of text.split(',').map((each) => each.trim())) {
    if (!network) continue;
    const [, address = '', prefix = ''] = /^([^/]+)\/(\d{1,3})$/.exec(network) ?? [];
    const version = isIP(address);
    if (!version || Number(prefix) > (version === 4 ? 32 : 128)) return undefined;
    list.addSubnet(address, Number(prefix), version === 4 ? 'ipv4' : 'ipv6');
  }
  return list;
}

/** Whether a webhook may connect to this address. An IPv4 address in IPv6's clothes is what it stands for. */
export function mayReach(address: string, allowed: BlockList): boolean {
  const version = isIP(address);
  if (!version) return false;
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
  if (mapped) return mayReach(mapped, allowed);
  const family: Family = version === 4 ? 'ipv4' : 'ipv6';
  if (allowed.check(address, family)) return true;
  return !refused.check(address, family) && (version === 4 || global.check(address, family));
}
