/** google.protobuf.Timestamp and Duration as text, by the rules of proto3 JSON. */

export interface Span {
  seconds: bigint;
  nanos: number;
}

const RFC3339 = /^(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?([Zz]|[+-]\d\d:\d\d)$/;
const DURATION = /^(-?)(\d{1,12})(?:\.(\d{1,9}))?s$/;

/** Undefined when the text is no moment between the years 1 and 9999. */
export function timestampFromText(text: string): Span | undefined {
  const match = RFC3339.exec(text);
  if (!match) return undefined;
  const [, day, time, fraction = '', zone] = match;
  const millis = Date.parse(`${day}T${time}${zone!.toUpperCase()}`);
  // Date.parse rolls 31 February over into March: that is no date.
  const local = Date.parse(`${day}T${time}Z`);
  if (Number.isNaN(millis) || new Date(local).toISOString().slice(0, 19) !== `${day}T${time}`)
    return undefined;
  const seconds = Math.floor(millis / 1000);
  if (seconds < -62135596800 || seconds > 253402300799) return undefined;
  return { seconds: BigInt(seconds), nanos: Number(fraction.padEnd(9, '0')) };
}

export function timestampText({ seconds, nanos }: Span): string {
  const whole = new Date(Number(seconds) * 1000).toISOString();
  return `${whole.slice(0, whole.length - 5)}${fractionText(nanos)}Z`;
}

export function durationFromText(text: string): Span | undefined {
  const match = DURATION.exec(text);
  if (!match) return undefined;
  const [, minus, seconds, fraction = ''] = match;
  const sign = minus ? -1 : 1;
  // `|| 0`: no negative zero.
  return { seconds: BigInt(sign) * BigInt(seconds!), nanos: sign * Number(fraction.padEnd(9, '0')) || 0 };
}

export function durationText({ seconds, nanos }: Span): string {
  const minus = seconds < 0n || nanos < 0 ? '-' : '';
  const whole = seconds < 0n ? -seconds : seconds;
  return `${minus}${whole}${fractionText(Math.abs(nanos))}s`;
}

/** None, or 3, 6 or 9 digits. */
function fractionText(nanos: number): string {
  if (nanos === 0) return '';
  const digits = String(nanos).padStart(9, '0');
  if (digits.endsWith('000000')) return `.${digits.slice(0, 3)}`;
  return digits.endsWith('000') ? `.${digits.slice(0, 6)}` : `.${digits}`;
}
