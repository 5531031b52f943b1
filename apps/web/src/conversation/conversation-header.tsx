/** Header of a conversation: name, presence or member count, search button, details button. */
import type { ConversationSummary } from '@chorus/client'
import { ArrowLeft, PanelRight, Search } from 'lucide-react'
import { openOverlay } from '../dialogs/overlay.ts'
import { describePresence } from '../people/describe-presence.ts'
import { useMe } from '../people/me.tsx'
import { useShownPresence } from '../people/use-shown-presence.ts'
import { Link } from '../routing/link.tsx'
import { ConversationAvatar } from '../summary/conversation-avatar.tsx'
import { countMembers, partnerOf, titleOf } from '../summary/title.ts'
import { useNow } from '../time/use-now.ts'
import { IconButton } from '../ui/icon-button.tsx'

interface ConversationHeaderProps {
  readonly summary: ConversationSummary
  readonly isPanelOpen: boolean
  readonly onPanel: () => void
}

export function ConversationHeader({ summary, isPanelOpen, onPanel }: ConversationHeaderProps) {
  const { user: me } = useMe()
  const partner = partnerOf(summary, me.id)
  const presence = useShownPresence(partner?.id)
  const now = useNow()
  return (
    <header className='conversation-header'>
      <Link to={{ at: 'home' }} className='icon-button conversation-back' aria-label='Back to conversations'>
        <ArrowLeft aria-hidden='true' />
      </Link>
      <ConversationAvatar conversation={summary} sizePx={36} />
      <div className='conversation-heading'>
        <h1 className='conversation-title truncate'>{titleOf(summary, me.id)}</h1>
        <p className='conversation-subtitle truncate' data-testid='conversation-subtitle'>
          {partner === undefined ? countMembers(summary.memberCount) : describePresence(presence, now)}
        </p>
      </div>
      <IconButton label='Find' shortcut='Control+K' onClick={() => openOverlay('find')}>
        <Search />
      </IconButton>
      <IconButton label='Details' aria-pressed={isPanelOpen} onClick={onPanel}>
        <PanelRight />
      </IconButton>
    </header>
  )
}
