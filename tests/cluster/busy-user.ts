/**
 * A user of an application that uses the SDK, for tests of restarts: acts as people do, and records
 * the acknowledged messages and the received changes.
 */
import { type ChatClient, createChatClient, type OutboxItem, type TransportName } from '@chorus/client'
import { type HttpUser, waitForFact } from '@chorus/testkit'

/**
 * Time between two messages of a user. It is so short that messages are sent in every phase of a
 * restart.
 */
const pauseMs = 40

export interface EnterOptions {
  readonly transport: TransportName
  /** Entry of the SDK. Default: the present one. */
  readonly createClient?: typeof createChatClient
}

export class BusyUser {
  readonly acknowledged = new Map<string, number>()
  readonly order: string[] = []
  readonly noticed: number[] = []
  /** Seqs of the changes of other conversations. */
  readonly noticedElsewhere: number[] = []
  readonly errors: unknown[] = []
  readonly states = new Set<string>()
  readonly id: string
  readonly #client: ChatClient
  readonly #conversation: string
  #isReady = false

  private constructor(client: ChatClient, id: string, conversation: string) {
    this.#client = client
    this.id = id
    this.#conversation = conversation
    client.onChange(({ conversation: changed, change }) => {
      if (changed === conversation) this.noticed.push(change.seq)
      else this.noticedElsewhere.push(change.seq)
    })
    // A conversation that the user joins later may begin with its newest page.
    client.onLimited((notice) => {
      if (notice.conversation === conversation) this.errors.push(new Error('limited'))
    })
    client.connection.subscribe(() => {
      const { state } = client.connection.get()
      if (state === 'ready') this.#isReady = true
      if (this.#isReady) this.states.add(state)
    })
  }

  /** Signs in and waits until the client is connected and up to date. */
  static async enter(
    url: string,
    user: HttpUser,
    conversation: string,
    { transport, createClient = createChatClient }: EnterOptions,
  ): Promise<BusyUser> {
    const errors: unknown[] = []
    const client = createClient({ url, transports: [transport], onError: (error) => void errors.push(error) })
    const { id } = await client.signIn({ handle: user.handle, password: user.password })
    const person = new BusyUser(client, id, conversation)
    person.errors.push(...errors)
    await waitForFact(() => client.connection.get().state === 'ready' && client.data.get() === 'live', {
      what: 'a connection',
    })
    return person
  }

  /** Writes, edits, reacts and searches until `isGoing` returns false. */
  async live(isGoing: () => boolean): Promise<void> {
    const { messages } = this.#client.conversation(this.#conversation)
    for (let count = 1; isGoing(); count += 1) {
      try {
        const sent = await messages.send({ text: `${count}` })
        this.order.push(sent.clientId)
        sent.acknowledged.then(
          ({ seq }) => void this.acknowledged.set(sent.clientId, seq),
          (error: unknown) => void this.errors.push(error),
        )
        const [mine] = this.acknowledged.values()
        if (mine !== undefined && count % 5 === 0) await messages.edit(mine, `edited ${count}`)
        if (mine !== undefined && count % 7 === 0) await messages.react(mine, count % 2 === 0 ? '👍' : '🎉')
        if (count % 11 === 0) await this.#client.findUsers('user')
      } catch (error) {
        this.errors.push(error)
      }
      await new Promise((resolve) => setTimeout(resolve, pauseMs))
    }
  }

  get waiting(): readonly OutboxItem[] {
    return this.#client.outbox.get()
  }

  get top(): number {
    return this.noticed.at(-1) ?? 0
  }

  leave(): Promise<void> {
    return this.#client.stop()
  }
}
