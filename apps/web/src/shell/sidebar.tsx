/**
 * Sidebar: the account menu, search, a button for a new conversation, and the conversation list.
 */
import { CircleQuestionMark, Hash, LogOut, Monitor, Moon, Search, Settings, SquarePen, Sun } from 'lucide-react'
import { useRef, useState } from 'react'
import { openOverlay } from '../dialogs/overlay.ts'
import { Avatar } from '../people/avatar.tsx'
import { useMe } from '../people/me.tsx'
import { useSignOut } from '../people/use-sign-out.ts'
import { setTheme, useTheme, type Theme } from '../preferences/theme.ts'
import type { Route } from '../routing/route.ts'
import { navigate } from '../routing/use-route.ts'
import { IconButton } from '../ui/icon-button.tsx'
import { Menu, type MenuItem } from '../ui/menu.tsx'
import { useMatches } from '../ui/use-matches.ts'
import { ConversationList } from './conversation-list.tsx'
import './sidebar.css'

export function Sidebar({ route }: { readonly route: Route }) {
  const open = route.at === 'conversation' ? route.conversation : undefined
  // On a phone, the home route shows only the list, so the list is the main region of the page.
  const isPage = useMatches('(max-width: 639px)') && route.at === 'home'
  return (
    <div className='sidebar' role={isPage ? 'main' : undefined}>
      {isPage && <h1 className='hidden-visually'>Conversations</h1>}
      <div className='sidebar-header'>
        <AccountButton />
        <button
          type='button'
          className='sidebar-find'
          aria-label='Find people and channels'
          onClick={() => openOverlay('find')}
          aria-keyshortcuts='Control+K'
        >
          <Search aria-hidden='true' />
          <span className='sidebar-find-label'>Find</span>
          <span className='sidebar-find-keys' data-keys='Ctrl K' aria-hidden='true' />
        </button>
        <IconButton label='New conversation' className='sidebar-new' onClick={() => openOverlay('new-conversation')}>
          <SquarePen />
        </IconButton>
      </div>
      <nav className='sidebar-nav' aria-label='Conversations'>
        <ConversationList open={open} />
      </nav>
    </div>
  )
}

const themeIcons = { system: <Monitor />, light: <Sun />, dark: <Moon /> } as const
const themeLabels: Record<Theme, string> = { system: 'System theme', light: 'Light theme', dark: 'Dark theme' }

function AccountButton() {
  const { user } = useMe()
  const theme = useTheme()
  const signOut = useSignOut()
  const button = useRef<HTMLButtonElement>(null)
  const [anchor, setAnchor] = useState<HTMLElement | null>(null)
  const items: MenuItem[] = [
    { label: 'Settings', icon: <Settings />, onSelect: () => navigate({ at: 'settings', section: 'profile' }) },
    { label: 'Browse channels', icon: <Hash />, onSelect: () => openOverlay('browse-channels') },
    ...(['system', 'light', 'dark'] as const).map((choice) => ({
      label: themeLabels[choice],
      icon: themeIcons[choice],
      checked: theme === choice,
      onSelect: () => setTheme(choice),
    })),
    { label: 'Keyboard shortcuts', icon: <CircleQuestionMark />, onSelect: () => openOverlay('keyboard') },
    { label: 'Sign out', icon: <LogOut />, danger: true, onSelect: signOut },
  ]
  return (
    <>
      <button
        ref={button}
        type='button'
        className='account-button'
        aria-label={`Account: ${user.name}`}
        title={user.name}
        aria-haspopup='menu'
        aria-expanded={anchor !== null}
        onClick={() => setAnchor(anchor === null ? button.current : null)}
      >
        <Avatar id={user.id} name={user.name} picture={user.avatar} sizePx={32} />
      </button>
      {anchor !== null && <Menu label='Account' anchor={anchor} items={items} onClose={() => setAnchor(null)} />}
    </>
  )
}
