/**
 * Type guards for server events. They check only the few fields that this package uses, without a
 * schema library. Invalid events are dropped. Unknown events and fields come from a later protocol
 * version and are ignored.
 */
import type { ChangeField, EventName, ServerEvent } from '@chorus/protocol'
import { changeFields, isChangeType } from '../model/change-fields.ts'

type Fields = Readonly<Record<string, unknown>>

export function isObject(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isSeq(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0
}

export function isText(value: unknown): value is string {
  return typeof value === 'string'
}

function isMessage(value: unknown): boolean {
  return (
    isObject(value) &&
    isSeq(value['seq']) &&
    isSeq(value['version']) &&
    isText(value['clientId']) &&
    isText(value['sender'])
  )
}

/** Type guards for the fields of changes. Fields that this package does not use are not checked. */
const changeGuards: { readonly [Field in ChangeField]: (value: unknown) => boolean } = {
  seq: isSeq,
  at: () => true,
  actor: isText,
  type: isText,
  message: isMessage,
  target: isSeq,
  emoji: isText,
  action: isText,
  user: isText,
  role: isText,
  conversation: isObject,
  from: isSeq,
  to: isSeq,
}

const commonFields: readonly string[] = ['seq', 'at', 'actor', 'type']

/** Returns whether a change can be applied, or moves the log position only. */
export function isChange(value: unknown): boolean {
  if (!isObject(value) || !isSeq(value['seq']) || !isText(value['type'])) return false
  const { type } = value
  // Accept unknown change types of a later version, because they still move the log position.
  if (!isChangeType(type)) return true
  // A server of protocol version 2 sends these types with the common fields only.
  if (type.startsWith('card.') && Object.keys(value).every((field) => commonFields.includes(field))) return true
  if (!changeFields[type].every((field) => changeGuards[field](value[field]))) return false
  return type !== 'skip' || Number(value['from']) <= Number(value['to'])
}

const guards: { readonly [Name in EventName]: (payload: unknown) => boolean } = {
  ready: (payload) =>
    isObject(payload) &&
    isObject(payload['user']) &&
    isText(payload['user']['id']) &&
    isObject(payload['session']) &&
    isText(payload['epoch']) &&
    isText(payload['cursor']),
  changes: (payload) =>
    isObject(payload) &&
    isText(payload['conversation']) &&
    Array.isArray(payload['changes']) &&
    payload['changes'].every(isChange),
  conversation: (payload) =>
    isObject(payload) &&
    isText(payload['conversation']) &&
    isSeq(payload['seq']) &&
    isSeq(payload['readSeq']) &&
    isSeq(payload['unread']) &&
    (payload['messages'] === undefined ||
      (Array.isArray(payload['messages']) && payload['messages'].every((message) => isMessage(message)))),
  live: (payload) =>
    Array.isArray(payload) &&
    payload.every(
      (value) =>
        isObject(value) &&
        isText(value['conversation']) &&
        isText(value['key']) &&
        isText(value['user']) &&
        isText(value['at']) &&
        isText(value['expiresAt']),
    ),
  presence: (payload) =>
    Array.isArray(payload) && payload.every((one) => isObject(one) && isText(one['user']) && isText(one['status'])),
  checkpoint: (payload) => isObject(payload) && isText(payload['cursor']),
  reset: isObject,
  moving: (payload) => isObject(payload) && isSeq(payload['inMs']),
  closing: (payload) => isObject(payload) && isText(payload['code']) && isText(payload['retry']),
}

/** Returns the event, or undefined if it is invalid or unknown to this version. */
export function toServerEvent(name: string, payload: unknown): ServerEvent | undefined {
  if (!Object.hasOwn(guards, name)) return undefined
  return guards[name as EventName](payload) ? ({ name, payload } as ServerEvent) : undefined
}
