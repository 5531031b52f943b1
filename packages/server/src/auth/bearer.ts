/**
 * Reads the credential of clients that use no cookie: `Authorization: Bearer`, and the device in
 * `Chorus-Device`. It comes in a header and never in an address, which ends up in logs.
 */
import { ChorusError, clientIdSchema } from '@chorus/protocol'

const bearerPattern = /^bearer(?:$|\s(.*)$)/is

/** Returns the token of the header. Undefined: the header names no bearer. */
export function readBearer(authorization: string | undefined): string | undefined {
  const match = authorization === undefined ? null : bearerPattern.exec(authorization)
  return match === null ? undefined : (match[1] ?? '').trim()
}

/** Returns the device in lower case, or undefined without one. Throws `invalid` if it is no UUID. */
export function readDevice(device: unknown): string | undefined {
  if (device === undefined) return undefined
  const parsed = clientIdSchema.safeParse(device)
  if (!parsed.success) throw new ChorusError('invalid', 'unable to answer; the device is not a UUID')
  return parsed.data
}
