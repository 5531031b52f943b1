/**
 * Builds one attack for each transport of each command. The attacks are derived from the command
 * table, so a new command is covered automatically.
 */
import { type CommandAuth, commands, type CommandName } from '@chorus/protocol'
import { HttpUser } from '../http-user.ts'
import type { Attacker } from './attacker.ts'
import { floodHttp, floodSocket, placeInput } from './floods.ts'
import { WorstInputs } from './worst-inputs.ts'

export interface CommandAttack {
  readonly command: CommandName
  readonly transport: 'HTTP' | 'Socket.IO'
  /** Whether the command changes something, for a signed-in user or an API key. */
  readonly isWrite: boolean
  /** Whether the command ends the session that it uses. */
  readonly endsSession: boolean
  /** Runs the attack for a limited time. */
  run(url: string, attacker: Attacker, options: AttackOptions): Promise<void>
  /**
   * Sends one request with the next input of the attack. Resolves to the HTTP status. Only attacks
   * over HTTP have it.
   */
  askOnce?(url: string, attacker: Attacker, inputs: WorstInputs): Promise<number>
}

export interface AttackOptions {
  readonly forMs: number
  /** Requests or packets per second. Default: as many as possible. */
  readonly perSecond?: number
}

interface Definition {
  readonly auth: CommandAuth
  readonly route?: { readonly method: string; readonly path: string; readonly status: number }
  readonly event?: { readonly name: string }
}

/** Returns the header with the credential that a command needs. */
function credentialOf(auth: CommandAuth, attacker: Attacker): Record<string, string> {
  switch (auth) {
    case 'session':
      return { cookie: attacker.takeCookie() }
    case 'key':
      return { authorization: `Bearer ${attacker.apiKey}` }
    case 'none':
      return {}
  }
}

/**
 * Returns attacks on every command over its HTTP route and its Socket.IO event, in the order of the
 * command table.
 */
export function listCommandAttacks(): CommandAttack[] {
  return (Object.keys(commands) as CommandName[]).flatMap((command) => {
    const { auth, route, event } = commands[command] as Definition
    const kind = {
      command,
      isWrite: auth !== 'none' && route?.method !== 'GET',
      endsSession: ['sign-out', 'revoke-session'].includes(command),
    }
    const attacks: CommandAttack[] = []
    if (route !== undefined) {
      attacks.push({
        ...kind,
        transport: 'HTTP',
        async run(url, attacker, options) {
          const inputs = new WorstInputs(command, attacker.world)
          await floodHttp({
            url,
            headers: credentialOf(auth, attacker),
            method: route.method,
            next: () => placeInput(command, inputs.next()),
            ...options,
          })
        },
        async askOnce(url, attacker, inputs) {
          const http = HttpUser.stranger(url)
          const { path, body } = placeInput(command, inputs.next())
          return (await http.call(route.method, path, body, { headers: credentialOf(auth, attacker) })).status
        },
      })
    }
    if (event !== undefined) {
      attacks.push({
        ...kind,
        transport: 'Socket.IO',
        async run(url, attacker, options) {
          const inputs = new WorstInputs(command, attacker.world)
          await floodSocket({ url, cookie: attacker.takeCookie(), event: event.name, inputs, ...options })
        },
      })
    }
    return attacks
  })
}
