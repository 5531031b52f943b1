/** Lists the public keys of cards, from memory. Anyone may read them. */
import { limitKeyOf } from '../../support/address.ts'
import type { Command } from '../command.ts'

export const listCardKeys: Command<'list-card-keys'> = {
  cost: { budget: 'none' },
  run: async ({ parts: { cards, limits }, address }) => {
    limits.takeRequest(limitKeyOf(address))
    return { keys: [...(await cards.published())] }
  },
}
