/** What user code printed, on its way from a runner to whoever reads logs: BERTH_LOGS. */
import { headers as natsHeaders, type MsgHdrs } from '@nats-io/transport-node';
import type { ReceivedMessage } from './input-message';

export interface LogMessage {
  workspaceId: string;
  appId: string;
  functionId: string;
  containerId: string;
  /** Empty for what was printed outside a call. */
  callId: string;
  stream: 'stdout' | 'stderr';
  time: Date;
  text: string;
}

/** The subject of one container's lines; a part that is undefined matches any. */
export const logSubject = (of: {
  workspaceId: string;
  appId: string;
  functionId?: string | undefined;
  containerId?: string | undefined;
}): string => `berth.logs.${of.workspaceId}.${of.appId}.${of.functionId ?? '*'}.${of.containerId ?? '*'}`;

export function encodeLog(log: LogMessage): { subject: string; headers: MsgHdrs; data: Uint8Array } {
  const headers = natsHeaders();
  headers.set('Berth-Stream', log.stream);
  headers.set('Berth-Time', log.time.toISOString());
  if (log.callId) headers.set('Berth-Call', log.callId);
  return { subject: logSubject(log), headers, data: Buffer.from(log.text) };
}

/** Undefined for a message that is not a log line. */
export function decodeLog({ subject, headers, data }: ReceivedMessage): LogMessage | undefined {
  const [, , workspaceId, appId, functionId, containerId] = subject.split('.');
  const time = new Date(headers?.get('Berth-Time') ?? '');
  const stream = headers?.get('Berth-Stream');
  if (!workspaceId || !appId || !functionId || !containerId || Number.isNaN(time.getTime())) return undefined;
  if (stream !== 'stdout' && stream !== 'stderr') return undefined;
  return {
    workspaceId,
    appId,
    functionId,
    containerId,
    callId: headers?.get('Berth-Call') ?? '',
    stream,
    time,
    text: Buffer.from(data).toString('utf8'),
  };
}
