/**
 * Two members who chat while somebody else attacks the server. They send at a steady rate without waiting
 * for each other, and remember how each send ended and each disconnection.
 */
import { randomUUID } from 'node:crypto'
import type { HttpUser } from '@chorus/testkit'
import { SocketUser } from '@chorus/testkit'

const sendIntervalMs = 50
/** An attack that the server ends at once is watched for this long all the same. */
const chatLeastMs = 500
/** Beyond the two seconds after which a server answers `unknown` by itself. */
const answerTimeoutMs = 8_000

export interface WitnessReport {
  readonly acknowledged: number
  /** The error codes of sends that were not acknowledged; `timeout` when no answer came. */
  readonly failures: readonly string[]
  readonly disconnections: readonly string[]
}

export class Witnesses {
  readonly #users: readonly SocketUser[]
  readonly #conversation: string

  private constructor(users: readonly SocketUser[], conversation: string) {
    this.#users = users
    this.#conversation = conversation
  }

  static async connect(url: string, people: readonly [HttpUser, HttpUser]): Promise<Witnesses> {
    const [ada, ben] = people
    const conversation = await ada.createConversation('direct', [ben.id])
    return new Witnesses(
      await Promise.all(people.map(({ cookie }) => SocketUser.connect(url, { cookie }))),
      conversation,
    )
  }

  /** Chats until `attack` has ended and every send is answered. */
  async chatDuring<Outcome>(attack: () => Promise<Outcome>): Promise<{ outcome: Outcome; report: WitnessReport }> {
    const failures: string[] = []
    const sends: Promise<void>[] = []
    let acknowledged = 0
    const send = async (user: SocketUser): Promise<void> => {
      const message = { conversation: this.#conversation, clientId: randomUUID(), text: 'are you there?' }
      try {
        const answer = await user.command('send', message, answerTimeoutMs)
        if (answer.ok) acknowledged++
        else failures.push(answer.error?.code ?? 'no code')
      } catch (error) {
        failures.push(error instanceof Error && /timed out/.test(error.message) ? 'timeout' : String(error))
      }
    }
    const sending = setInterval(() => {
      for (const user of this.#users) sends.push(send(user))
    }, sendIntervalMs)
    let outcome: Outcome
    try {
      ;[outcome] = await Promise.all([attack(), new Promise((resolve) => setTimeout(resolve, chatLeastMs))])
    } finally {
      clearInterval(sending)
    }
    await Promise.all(sends)
    for (const user of this.#users) user.events.length = 0
    const disconnections = this.#users.flatMap((user) => user.disconnections)
    return { outcome, report: { acknowledged, failures, disconnections } }
  }

  close(): void {
    for (const user of this.#users) user.close()
  }
}
