/**
 * An attack for each way into each command, from the command table: a new command is covered by itself.
 */
import { commands, type CommandName } from '@chorus/protocol'
import type { Attacker } from './attacker.ts'
import { floodHttp, floodSocket, placeInput } from './floods.ts'
import { WorstInputs } from './worst-inputs.ts'

export interface CommandAttack {
  readonly command: CommandName
  readonly road: 'HTTP' | 'Socket.IO'
  /** Whether the command changes something for a signed-in user. */
  readonly isWrite: boolean
  /** Whether it ends the session that it uses. */
  readonly endsSession: boolean
  /**
   * Attacks for a time. Resolves with how many requests the command itself answered, instead of a check before
   * it; undefined where answers are not read.
   */
  run(url: string, attacker: Attacker, options: AttackOptions): Promise<number | undefined>
}

export interface AttackOptions {
  readonly forMs: number
  /** Requests or packets a second; left out, as many as can be written. */
  readonly perSecond?: number
}

/** Done, or looked at and not allowed. */
const judgedStatuses = [200, 201, 204, 403]

interface Definition {
  readonly auth: 'session' | 'none'
  readonly route?: { readonly method: string; readonly path: string; readonly status: number }
  readonly event?: { readonly name: string }
}

/** Every command over its HTTP route and over its Socket.IO event, in the order of the table. */
export function listCommandAttacks(): CommandAttack[] {
  return (Object.keys(commands) as CommandName[]).flatMap((command) => {
    const { auth, route, event } = commands[command] as Definition
    const kind = {
      command,
      isWrite: auth === 'session' && route?.method !== 'GET',
      endsSession: ['sign-out', 'revoke-session'].includes(command),
    }
    const attacks: CommandAttack[] = []
    if (route !== undefined) {
      attacks.push({
        ...kind,
        road: 'HTTP',
        async run(url, attacker, options) {
          const inputs = new WorstInputs(command, attacker.world)
          const statuses = await floodHttp({
            url,
            cookie: auth === 'none' ? undefined : attacker.takeCookie(),
            method: route.method,
            next: () => placeInput(command, inputs.next()),
            ...options,
          })
          if (auth === 'none') return undefined
          return judgedStatuses.reduce((sum, status) => sum + (statuses.get(status) ?? 0), 0)
        },
      })
    }
    if (event !== undefined) {
      attacks.push({
        ...kind,
        road: 'Socket.IO',
        async run(url, attacker, options) {
          const inputs = new WorstInputs(command, attacker.world)
          await floodSocket({ url, cookie: attacker.takeCookie(), event: event.name, inputs, ...options })
          return undefined
        },
      })
    }
    return attacks
  })
}
