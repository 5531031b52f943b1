/**
 * State table of a connection: the next state for each event in each state.
 *
 * Guarantee: the compiler rejects a table in which a state lacks an event.
 */
import type { ConnectionStatus } from '../model/api.ts'

export type StateName = ConnectionStatus['state']

/** Event that may change the state. */
export type ConnectionEvent =
  | 'start'
  | 'stop'
  | 'opened'
  | 'ready'
  | 'lost'
  | 'refused'
  | 'retry-due'
  | 'move'
  | 'move-failed'
  /** During a move, the old link ended while the new link was still opening. */
  | 'old-lost'
  | 'network-lost'
  | 'network-back'

/** Next state for each event in each state. `stay` means that the event has no effect. */
export const connectionTable: {
  readonly [State in StateName]: { readonly [Name in ConnectionEvent]: StateName | 'stay' }
} = {
  idle: {
    start: 'connecting',
    stop: 'stay',
    opened: 'stay',
    ready: 'stay',
    lost: 'stay',
    refused: 'stay',
    'retry-due': 'stay',
    move: 'stay',
    'move-failed': 'stay',
    'old-lost': 'stay',
    'network-lost': 'stay',
    'network-back': 'stay',
  },
  connecting: {
    start: 'stay',
    stop: 'idle',
    opened: 'replaying',
    ready: 'stay',
    lost: 'waiting',
    refused: 'closed',
    'retry-due': 'stay',
    move: 'stay',
    'move-failed': 'stay',
    'old-lost': 'stay',
    'network-lost': 'offline',
    'network-back': 'stay',
  },
  replaying: {
    start: 'stay',
    stop: 'idle',
    opened: 'stay',
    ready: 'ready',
    lost: 'waiting',
    refused: 'closed',
    'retry-due': 'stay',
    // A move does not start during a replay. If the server asked for it, the connection plans it
    // again after the replay.
    move: 'stay',
    'move-failed': 'stay',
    'old-lost': 'stay',
    'network-lost': 'offline',
    'network-back': 'stay',
  },
  ready: {
    start: 'stay',
    stop: 'idle',
    opened: 'stay',
    ready: 'stay',
    lost: 'waiting',
    refused: 'closed',
    'retry-due': 'stay',
    move: 'moving',
    'move-failed': 'stay',
    'old-lost': 'stay',
    'network-lost': 'offline',
    'network-back': 'moving',
  },
  moving: {
    start: 'stay',
    stop: 'idle',
    opened: 'stay',
    ready: 'ready',
    lost: 'waiting',
    refused: 'closed',
    'retry-due': 'stay',
    move: 'stay',
    'move-failed': 'ready',
    'old-lost': 'connecting',
    'network-lost': 'offline',
    'network-back': 'stay',
  },
  waiting: {
    start: 'connecting',
    stop: 'idle',
    opened: 'stay',
    ready: 'stay',
    lost: 'stay',
    refused: 'closed',
    'retry-due': 'connecting',
    move: 'connecting',
    'move-failed': 'stay',
    'old-lost': 'stay',
    'network-lost': 'offline',
    'network-back': 'connecting',
  },
  offline: {
    start: 'connecting',
    stop: 'idle',
    opened: 'stay',
    ready: 'stay',
    lost: 'stay',
    refused: 'closed',
    // Some devices wrongly report that they are offline, so connect from time to time anyway.
    'retry-due': 'connecting',
    move: 'connecting',
    'move-failed': 'stay',
    'old-lost': 'stay',
    'network-lost': 'stay',
    'network-back': 'connecting',
  },
  closed: {
    start: 'connecting',
    stop: 'idle',
    opened: 'stay',
    ready: 'stay',
    lost: 'stay',
    refused: 'stay',
    'retry-due': 'stay',
    move: 'stay',
    'move-failed': 'stay',
    'old-lost': 'stay',
    'network-lost': 'stay',
    'network-back': 'stay',
  },
}
