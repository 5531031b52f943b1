/**
 * Two members who chat during an attack, as witnesses. They send at a steady rate without waiting
 * for responses, and record the result of each send and every disconnection.
 */
import { randomUUID } from 'node:crypto'
import type { HttpUser } from '@chorus/testkit'
import { SocketUser } from '@chorus/testkit'

const sendIntervalMs = 50
/**
 * Minimum duration of the chat. If an attack ends at once, the two members still chat for this
 * long.
 */
const chatLeastMs = 500
/**
 * Timeout of a send. It is longer than two seconds, because the server itself answers `unknown`
 * after two seconds.
 */
const answerTimeoutMs = 8_000

export interface WitnessReport {
  readonly acknowledged: number
  /** Error codes of the sends that were not acknowledged. `timeout` if no response came. */
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

  /** Lets the two members chat until `attack` has ended and every send has a response. */
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
