/** Shows which members are typing, with moving dots. */
import { useUser } from '@chorus/react'
import { describeTyping } from './title.ts'

/**
 * Names at most two members: React requires the same number of hooks in each render, so the
 * component cannot load a name for each member.
 */
export function TypingNames({ users, isNamed }: { readonly users: readonly string[]; readonly isNamed: boolean }) {
  const first = useUser(users[0])
  const second = useUser(users[1])
  const names = users.map((_id, index) => [first, second][index]?.name.split(/\s+/)[0] ?? 'Someone')
  return (
    <span className='typing-text truncate'>
      {isNamed ? describeTyping(names) : 'typing'}
      <span className='typing-dots' aria-hidden='true'>
        <span />
        <span />
        <span />
      </span>
    </span>
  )
}
