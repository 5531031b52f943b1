/**
 * Type guards for server events. They check only the few fields that this package uses, without a
 * schema library. Invalid events are dropped. Unknown events and fields come from a later protocol
 * version and are ignored.
 */
import type { EventName, ServerEvent } from '@chorus/protocol'

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

export function isChange(value: unknown): boolean {
  if (!isObject(value) || !isSeq(value['seq']) || !isText(value['type'])) return false
  switch (value['type']) {
    case 'message.created':
    case 'message.edited':
    case 'message.deleted':
      return isMessage(value['message'])
    case 'reaction.added':
    case 'reaction.removed':
      return isSeq(value['target']) && isText(value['emoji']) && isText(value['actor'])
    case 'member.joined':
    case 'member.left':
    case 'member.updated':
      return isText(value['user']) && isText(value['role'])
    case 'conversation.created':
    case 'conversation.updated':
      return isObject(value['conversation'])
    case 'skip':
      return isSeq(value['from']) && isSeq(value['to']) && value['from'] <= value['to']
    default:
      // A change type of a later version still counts in the log.
      return true
  }
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
