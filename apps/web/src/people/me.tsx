/** React context that gives all components below it the signed-in user and their drafts. */
import type { User } from '@chorus/client'
import { createContext, useContext } from 'react'
import type { Drafts } from '../drafts/drafts.ts'

export interface Me {
  readonly user: User
  readonly drafts: Drafts
}

export const MeContext = createContext<Me | undefined>(undefined)

export function useMe(): Me {
  const me = useContext(MeContext)
  if (me === undefined) throw new Error('unable to say who is signed in; this component is outside the shell')
  return me
}
