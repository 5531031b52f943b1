/**
 * Handles the server's events for a client that does not use the Chorus client library, in the same
 * way for Socket.IO and Server-Sent Events. Records each event, keeps the cursor and the positions,
 * and reports when the client must leave the connection.
 */
import type { EventPayload, ServerEvent } from '@chorus/protocol'
import type { ConnectionIdentity, Recorder } from './recorder.ts'
import type { StreamPosition } from './stream-position.ts'

export interface IntakeOptions {
  readonly recorder: Recorder
  readonly position: StreamPosition
  readonly identity: ConnectionIdentity
  readonly onReady: () => void
  readonly onCursor: (cursor: string) => void
  /** Called when the server cannot continue from the client's cursor. */
  readonly onReset: () => void
  /** Called when the server announces that it will shut down or close the connection. */
  readonly onMoving: (inMs: number) => void
  readonly onClosing: (closing: EventPayload<'closing'>) => void
}

export class EventIntake {
  readonly #options: IntakeOptions
  #epoch: string

  constructor(options: IntakeOptions, epoch: string) {
    this.#options = options
    this.#epoch = epoch
  }

  get epoch(): string {
    return this.#epoch
  }

  take(event: ServerEvent): void {
    const { recorder, position, identity } = this.#options
    const observer = identity.connection
    switch (event.name) {
      case 'ready':
        this.#epoch = event.payload.epoch
        recorder.connection(identity, 'ready', { server: event.payload.server })
        this.#takeCursor(event.payload.cursor)
        this.#options.onReady()
        return
      case 'changes':
        for (const change of event.payload.changes) {
          recorder.deliver(observer, this.#epoch, event.payload.conversation, change)
          position.reached(event.payload.conversation, change.type === 'skip' ? change.to : change.seq)
        }
        return
      case 'conversation': {
        const { conversation, limited, left, seq } = event.payload
        // When the user was removed (`left`), the change with the removal arrives after this event.
        if (left === true) recorder.rebase(observer, 'left', conversation)
        else if (limited === true) recorder.rebase(observer, 'limited', conversation, seq)
        else return
        position.reached(conversation, seq)
        return
      }
      case 'checkpoint':
        this.#takeCursor(event.payload.cursor)
        return
      case 'live':
        for (const { conversation, user, key } of event.payload) recorder.live(observer, conversation, user, key)
        return
      case 'presence':
        for (const { user, status } of event.payload) recorder.presence(identity.connection, user, status)
        return
      case 'reset':
        recorder.connection(identity, 'reset')
        recorder.rebase(observer, 'reset')
        position.forget()
        this.#options.onReset()
        return
      case 'moving':
        recorder.connection(identity, 'moving')
        this.#options.onMoving(event.payload.inMs)
        return
      case 'closing':
        recorder.connection(identity, 'closing', { code: event.payload.code })
        this.#options.onClosing(event.payload)
        return
    }
  }

  #takeCursor(cursor: string): void {
    this.#options.recorder.checkpoint(this.#options.identity.connection)
    this.#options.onCursor(cursor)
  }
}
