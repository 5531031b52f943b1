/**
 * All events that a server can send (the "down" side of the wire), the same over Socket.IO and
 * Server-Sent Events.
 */
import type * as z from 'zod'
import { changesEvent } from './changes.ts'
import { checkpointEvent } from './checkpoint.ts'
import { closingEvent } from './closing.ts'
import { conversationEvent } from './conversation.ts'
import { liveEvent } from './live.ts'
import { movingEvent } from './moving.ts'
import { presenceEvent } from './presence.ts'
import { readyEvent } from './ready.ts'
import { resetEvent } from './reset.ts'

export const events = {
  ready: readyEvent,
  changes: changesEvent,
  conversation: conversationEvent,
  live: liveEvent,
  presence: presenceEvent,
  checkpoint: checkpointEvent,
  reset: resetEvent,
  moving: movingEvent,
  closing: closingEvent,
} as const

export type Events = typeof events
export type EventName = keyof Events
export type EventPayload<Name extends EventName> = z.infer<Events[Name]>

/** Union of all server events, each with its name and payload. */
export type ServerEvent = {
  [Name in EventName]: { readonly name: Name; readonly payload: EventPayload<Name> }
}[EventName]
