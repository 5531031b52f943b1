/** Settings screen: profile, appearance, and the devices on which the user is signed in. */
import { limits, type Session } from '@chorus/client'
import { useChat } from '@chorus/react'
import { ArrowLeft, Laptop, Smartphone } from 'lucide-react'
import { useCallback, useEffect, useState, type FormEvent } from 'react'
import { attempt, explainError } from '../notices/explain-error.ts'
import { showNotice } from '../notices/notices.ts'
import { Avatar } from '../people/avatar.tsx'
import { useMe } from '../people/me.tsx'
import { useSignOut } from '../people/use-sign-out.ts'
import { setEnterSends, useEnterSends } from '../preferences/enter-key.ts'
import { setTheme, useTheme, type Theme } from '../preferences/theme.ts'
import { Link } from '../routing/link.tsx'
import type { SettingsSection } from '../routing/route.ts'
import { formatAgo, formatFull } from '../time/format-time.ts'
import { useNow } from '../time/use-now.ts'
import { readField } from '../ui/read-field.ts'
import { describeDevice } from './describe-device.ts'
import '../people/person-row.css'
import '../ui/segments.css'
import './settings-screen.css'

const sections: readonly (readonly [section: SettingsSection, label: string])[] = [
  ['profile', 'Profile'],
  ['appearance', 'Appearance'],
  ['sessions', 'Devices'],
]

export function SettingsScreen({ section }: { readonly section: SettingsSection }) {
  return (
    <div className='settings scrolls'>
      <div className='settings-column'>
        <header className='settings-header'>
          <Link to={{ at: 'home' }} className='icon-button conversation-back' aria-label='Back to conversations'>
            <ArrowLeft aria-hidden='true' />
          </Link>
          <h1 className='settings-title'>Settings</h1>
        </header>
        <nav className='segments settings-segments' aria-label='Settings'>
          {sections.map(([name, label]) => (
            <Link
              key={name}
              to={{ at: 'settings', section: name }}
              className='segment'
              aria-current={name === section ? 'page' : undefined}
            >
              {label}
            </Link>
          ))}
        </nav>
        <Section section={section} />
      </div>
    </div>
  )
}

function Section({ section }: { readonly section: SettingsSection }) {
  switch (section) {
    case 'profile':
      return <Profile />
    case 'appearance':
      return <Appearance />
    case 'sessions':
      return <Devices />
  }
}

function Profile() {
  const chat = useChat()
  const { user } = useMe()
  const signOut = useSignOut()
  const [error, setError] = useState<string>()
  const save = async (event: FormEvent<HTMLFormElement>): Promise<void> => {
    event.preventDefault()
    const data = new FormData(event.currentTarget)
    const name = readField(data, 'name')
    const avatar = readField(data, 'avatar')
    if (name === '') {
      setError('Enter your name.')
      return
    }
    if (avatar !== '' && !/^https:\/\/\S+$/.test(avatar)) {
      setError('The picture’s web address must start with https://.')
      return
    }
    try {
      await chat.updateProfile({ name, avatar: avatar === '' ? null : avatar })
      setError(undefined)
      showNotice({ tone: 'info', text: 'Profile saved' })
    } catch (caught) {
      setError(explainError(caught))
    }
  }
  return (
    <section className='settings-section' aria-label='Profile'>
      <form className='settings-card' onSubmit={(event) => void save(event)}>
        <div className='settings-person'>
          <Avatar id={user.id} name={user.name} picture={user.avatar} sizePx={64} />
          <div>
            <p className='settings-name'>{user.name}</p>
            <p className='secondary'>@{user.handle}</p>
          </div>
        </div>
        <label className='field'>
          <span className='field-label'>Name</span>
          <input
            className='input'
            name='name'
            defaultValue={user.name}
            maxLength={limits.nameMaxChars}
            autoComplete='name'
          />
        </label>
        <label className='field'>
          <span className='field-label'>Web address of your picture (optional)</span>
          <input
            className='input'
            name='avatar'
            type='url'
            inputMode='url'
            placeholder='https://'
            defaultValue={user.avatar ?? ''}
            maxLength={limits.avatarMaxChars}
          />
        </label>
        <div role='alert'>{error !== undefined && <p className='field-error'>{error}</p>}</div>
        <div className='dialog-actions'>
          <button type='submit' className='button button-primary'>
            Save
          </button>
        </div>
      </form>
      <div className='settings-card settings-line'>
        <p>Sign out on this device</p>
        <button type='button' className='button button-danger' onClick={signOut}>
          Sign out
        </button>
      </div>
    </section>
  )
}

const themes: readonly (readonly [theme: Theme, label: string])[] = [
  ['system', 'System'],
  ['light', 'Light'],
  ['dark', 'Dark'],
]

function Appearance() {
  const theme = useTheme()
  const enterSends = useEnterSends()
  return (
    <section className='settings-section' aria-label='Appearance'>
      <fieldset className='settings-card'>
        <legend className='settings-legend'>Theme</legend>
        <div className='theme-choices'>
          {themes.map(([value, label]) => (
            <label key={value} className='theme-choice' data-theme-preview={value}>
              <input
                type='radio'
                name='theme'
                className='theme-radio'
                checked={theme === value}
                onChange={() => setTheme(value)}
              />
              <span className='theme-preview' aria-hidden='true'>
                <span className='theme-preview-side' />
                <span className='theme-preview-bubble' />
                <span className='theme-preview-bubble theme-preview-own' />
              </span>
              <span>{label}</span>
            </label>
          ))}
        </div>
      </fieldset>
      <fieldset className='settings-card'>
        <legend className='settings-legend'>Writing messages</legend>
        <label className='settings-line'>
          <span>
            Enter sends the message
            <span className='field-hint settings-hint'>
              {enterSends ? 'Shift-Enter starts a new line' : 'Enter starts a new line, Ctrl-Enter sends'}
            </span>
          </span>
          <input
            type='checkbox'
            role='switch'
            className='switch'
            checked={enterSends}
            onChange={(event) => setEnterSends(event.currentTarget.checked)}
          />
        </label>
      </fieldset>
    </section>
  )
}

type Devices =
  | { readonly state: 'loading' }
  | { readonly state: 'failed'; readonly text: string }
  | { readonly state: 'loaded'; readonly sessions: readonly Session[] }

function Devices() {
  const chat = useChat()
  const now = useNow()
  const [devices, setDevices] = useState<Devices>({ state: 'loading' })
  const load = useCallback(() => {
    chat.sessions().then(
      (sessions) => setDevices({ state: 'loaded', sessions }),
      (error: unknown) => setDevices({ state: 'failed', text: explainError(error) }),
    )
  }, [chat])
  useEffect(load, [load])

  const revoke = (session: Session): void => {
    attempt(chat.revokeSession(session.id).then(load), 'Couldn’t sign out that device')
  }

  return (
    <section className='settings-section' aria-label='Devices'>
      <div className='settings-card'>
        <h2 className='settings-legend'>Devices where you’re signed in</h2>
        {devices.state === 'loading' && <p className='secondary appears-late'>Loading…</p>}
        {devices.state === 'failed' && (
          <p className='error-note' role='alert'>
            <span>{devices.text}</span>
            <button type='button' className='text-button' onClick={load}>
              Try again
            </button>
          </p>
        )}
        {devices.state === 'loaded' && (
          <ul>
            {devices.sessions.map((session) => (
              <li key={session.id} className='device' data-testid='session'>
                {/iPhone|iPad|Android|Mobile/.test(session.userAgent ?? '') ? (
                  <Smartphone aria-hidden='true' />
                ) : (
                  <Laptop aria-hidden='true' />
                )}
                <div className='member-text'>
                  <p className='truncate' title={session.userAgent ?? undefined}>
                    {describeDevice(session.userAgent)}
                  </p>
                  <p className='secondary small' title={formatFull(session.createdAt, { now })}>
                    {session.current ? 'This device' : `Last used ${formatAgo(session.lastUsedAt, { now })}`}
                    {' · signed in '}
                    {formatAgo(session.createdAt, { now })}
                  </p>
                </div>
                {session.current ? (
                  <span className='member-role'>Current</span>
                ) : (
                  <button type='button' className='button' onClick={() => revoke(session)}>
                    Sign out<span className='hidden-visually'> {describeDevice(session.userAgent)}</span>
                  </button>
                )}
              </li>
            ))}
          </ul>
        )}
      </div>
    </section>
  )
}
