/** Changes the caller's handle, name or picture. Fields that are not given keep their value. */
import { ChorusError } from '@chorus/protocol'
import { updateProfile as store } from '../../accounts/users.ts'
import { rareWrite } from '../command-cost.ts'
import type { Command } from '../command.ts'
import { sessionEndedError } from '../session-ended-error.ts'

export const updateProfile: Command<'update-profile'> = {
  cost: { budget: 'requests', requests: rareWrite },
  run: async ({ parts: { database }, actor }, change) => {
    const user = await store(database, actor.userId, change)
    if (user === 'taken') throw new ChorusError('conflict', 'unable to change profile; the handle is taken')
    if (user === undefined) throw sessionEndedError()
    return { user }
  },
}
