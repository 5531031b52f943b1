/**
 * Creates an account and signs the new user in. With WELCOME_CHANNEL the user joins that channel
 * (rule WELCOME1); if that fails, the account is kept. The password is hashed before the handle is
 * checked, so a taken handle takes as long as a free one.
 */
import { ChorusError } from '@chorus/protocol'
import { v7 as uuidv7 } from 'uuid'
import { insertUser } from '../../accounts/users.ts'
import { afterStored } from '../after-stored.ts'
import type { Command } from '../command.ts'
import { joinWelcomeChannel } from './join-welcome-channel.ts'
import { cookiesOf } from './sign-in.ts'

export const signUp: Command<'sign-up'> = {
  cost: { budget: 'none' },
  run: async (context, { handle, password, name }) => {
    const { config, database, limits, passwords } = context.parts
    const cookies = cookiesOf(context)
    if (config.signUp === 'closed')
      throw new ChorusError('forbidden', 'unable to sign up; this server makes no new accounts')
    await limits.takeSignUp(context.address)
    const passwordHash = await passwords.hash(password)
    const user = await insertUser(database, { id: uuidv7(), handle, name, passwordHash })
    if (user === undefined) throw new ChorusError('conflict', 'unable to sign up; the handle is taken')
    limits.noteSignedIn(handle, context.address)
    await afterStored('sign up', () => cookies.signIn(user.id))
    if (config.welcomeChannel !== undefined)
      await joinWelcomeChannel(context, user.id, config.welcomeChannel).catch((error: unknown) =>
        context.parts.logger.warn({ err: error, user: user.id }, 'unable to add a new user to WELCOME_CHANNEL'),
      )
    return { user }
  },
}
