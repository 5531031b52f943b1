/**
 * Conversation object for a client without a session. Every value is empty and every command is
 * refused. A component that still renders during a sign-out shows nothing instead of failing.
 */
import { ChorusError } from '@chorus/protocol'
import type { ChatConversation } from '../model/api-conversation.ts'
import type { Messages, TimelineView } from '../model/api-messages.ts'
import type { Observable } from '../support/observable.ts'
import { MessageList } from './messages.ts'

function constant<Value>(value: Value): Observable<Value> {
  return { get: () => value, subscribe: () => () => undefined }
}

const nothing = constant(undefined)
const zero = constant(0)
const emptyMap: Observable<ReadonlyMap<string, never>> = constant(new Map<string, never>())
const emptyList = constant<readonly never[]>([])
const view = constant<TimelineView>({
  items: [],
  isLoaded: false,
  hasOlder: false,
  hasNewer: false,
  loading: 'nothing',
})

const refuse = (): Promise<never> =>
  Promise.reject(new ChorusError('unauthenticated', 'unable to use conversation; no user is signed in'))
const ignore = (): void => undefined

/** Returns an object with the same methods as the class `type`. Each method refuses every call. */
function refuseAll(type: typeof MessageList): Messages {
  const names = Object.getOwnPropertyNames(type.prototype).filter((name) => name !== 'constructor')
  return Object.fromEntries(names.map((name) => [name, refuse])) as unknown as Messages
}

const features = {
  summary: nothing,
  messages: { ...refuseAll(MessageList), view, card: () => nothing },
  typing: { users: emptyList, start: ignore, stop: ignore },
  members: { list: nothing, load: refuse, add: refuse, remove: refuse, setRole: refuse },
  live: { set: refuse, observe: () => emptyMap },
  presence: emptyMap,
  unread: zero,
  readMarkers: emptyMap,
  markRead: refuse,
} satisfies Omit<ChatConversation, 'id'>

export function createEmptyConversation(id: string): ChatConversation {
  return { id, ...features }
}
