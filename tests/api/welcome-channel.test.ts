/** The setting WELCOME_CHANNEL names the public channel that every user joins when they sign up. */
import { hasPostgres, HttpUser, type ServerProcess, usePostgres } from '@chorus/testkit'
import { afterEach, describe, expect, it } from 'vitest'
import { startQuickServer } from '../quick-server.ts'

interface Listed {
  readonly conversations: readonly {
    readonly id: string
    readonly kind: string
    readonly name: string | null
    readonly memberCount: number
    readonly role: string | null
  }[]
}

const servers: ServerProcess[] = []
afterEach(async () => {
  for (const server of servers.splice(0)) await server.remove()
})

async function start(options: { readonly databaseUrl?: string; readonly channel?: string }): Promise<ServerProcess> {
  const server = await startQuickServer({
    ...(options.databaseUrl !== undefined && { databaseUrl: options.databaseUrl }),
    env: { LIMIT_SIGN_INS_ADDRESS: '0', ...(options.channel !== undefined && { WELCOME_CHANNEL: options.channel }) },
  })
  servers.push(server)
  return server
}

const listOf = async (user: HttpUser): Promise<Listed['conversations']> =>
  (await user.expect<Listed>(200, 'GET', '/v1/conversations')).body.conversations

describe('the setting WELCOME_CHANNEL', () => {
  it.skipIf(!hasPostgres())(
    '[WELCOME1] users who sign up at two servers at once join one welcome channel',
    async () => {
      const databaseUrl = await (await usePostgres()).createDatabase()
      const first = await start({ databaseUrl, channel: 'Everyone here' })
      const second = await start({ databaseUrl, channel: 'Everyone here' })
      const users = await Promise.all(
        Array.from({ length: 10 }, (_, index) => HttpUser.signUp((index % 2 === 0 ? first : second).url)),
      )
      const lists = await Promise.all(users.map((user) => listOf(user)))
      expect(new Set(lists.map((list) => list.map(({ id }) => id).join())).size).toBe(1)
      expect(lists[0]).toMatchObject([{ kind: 'channel', name: 'Everyone here', memberCount: 10 }])
      expect(lists.filter(([channel]) => channel?.role === 'owner')).toHaveLength(1)
    },
  )

  it('[WELCOME1] an existing public channel of that name becomes the welcome channel', async () => {
    const server = await start({ channel: 'Lobby' })
    const owner = await HttpUser.signUp(server.url)
    const [lobby] = await listOf(owner)
    await owner.expect(200, 'PATCH', `/v1/conversations/${lobby?.id}`, { name: 'Renamed' })
    const renamed = await HttpUser.signUp(server.url)
    expect(await listOf(renamed)).toMatchObject([{ id: lobby?.id, name: 'Renamed' }])
    const own = await owner.createConversation('channel', [], 'Lobby')
    const later = await HttpUser.signUp(server.url)
    expect(await listOf(later)).toMatchObject([{ id: own, name: 'Lobby', role: 'member' }])
  })

  it('[WELCOME1] without the setting, a new user joins no channel', async () => {
    const server = await start({})
    const owner = await HttpUser.signUp(server.url)
    await owner.createConversation('channel', [], 'general')
    expect(await listOf(await HttpUser.signUp(server.url))).toEqual([])
  })
})
