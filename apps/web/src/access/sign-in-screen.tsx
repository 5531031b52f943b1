/**
 * Sign-in screen: one form that signs in or creates an account. Each error is shown at its field
 * and announced to screen readers.
 */
import { ChorusError, limits, type SignedOutReason } from '@chorus/client'
import { useChat } from '@chorus/react'
import { CircleAlert } from 'lucide-react'
import { useId, useRef, useState, type FormEvent, type InputHTMLAttributes } from 'react'
import { explainError } from '../notices/explain-error.ts'
import { readField } from '../ui/read-field.ts'
import './sign-in-screen.css'

type Mode = 'sign-in' | 'sign-up'

interface Fault {
  readonly field?: 'handle' | 'password' | 'name'
  readonly text: string
}

export function SignInScreen({ reason }: { readonly reason: SignedOutReason }) {
  const chat = useChat()
  const [mode, setMode] = useState<Mode>('sign-in')
  const [fault, setFault] = useState<Fault>()
  const [isBusy, setIsBusy] = useState(false)
  const form = useRef<HTMLFormElement>(null)

  const switchTo = (next: Mode): void => {
    setMode(next)
    setFault(undefined)
  }

  const fail = (next: Fault): void => {
    setFault(next)
    const field = form.current?.elements.namedItem(next.field ?? 'handle')
    if (field instanceof HTMLElement) field.focus()
  }

  const submit = async (event: FormEvent<HTMLFormElement>): Promise<void> => {
    event.preventDefault()
    if (isBusy) return
    const data = new FormData(event.currentTarget)
    const handle = readField(data, 'handle')
    const password = readField(data, 'password', { trim: false })
    const name = readField(data, 'name')
    const found = findFault(mode, { handle, password, name })
    if (found !== undefined) {
      fail(found)
      return
    }
    setFault(undefined)
    setIsBusy(true)
    try {
      if (mode === 'sign-in') await chat.signIn({ handle, password })
      else await chat.signUp({ handle, password, name })
    } catch (error) {
      fail(explainSignIn(mode, error))
    } finally {
      setIsBusy(false)
    }
  }

  const isNew = mode === 'sign-up'
  return (
    <main className='sign-in'>
      <form
        ref={form}
        className='sign-in-card'
        onSubmit={(event) => void submit(event)}
        noValidate
        aria-labelledby='sign-in-title'
      >
        <Logo />
        <h1 id='sign-in-title' className='sign-in-title'>
          {isNew ? 'Create your account' : 'Welcome to Chorus'}
        </h1>
        {reason === 'revoked' && !isNew && (
          <p className='sign-in-note' role='status'>
            You were signed out on this device. Sign in to continue.
          </p>
        )}
        {isNew && (
          <Field
            label='Your name'
            name='name'
            autoComplete='name'
            maxLength={limits.nameMaxChars}
            hint='Shown to other people'
            error={fault?.field === 'name' ? fault.text : undefined}
          />
        )}
        <Field
          label='Username'
          name='handle'
          autoComplete='username'
          autoCapitalize='none'
          autoCorrect='off'
          spellCheck={false}
          autoFocus
          maxLength={limits.handleMaxChars}
          hint={isNew ? 'Letters, digits, dots, dashes and underscores' : undefined}
          error={fault?.field === 'handle' ? fault.text : undefined}
        />
        <Field
          label='Password'
          name='password'
          type='password'
          autoComplete={isNew ? 'new-password' : 'current-password'}
          maxLength={limits.passwordMaxChars}
          hint={isNew ? `At least ${limits.passwordMinChars} characters` : undefined}
          error={fault?.field === 'password' ? fault.text : undefined}
        />
        <div role='alert'>
          {fault !== undefined && fault.field === undefined && (
            <p className='error-note'>
              <CircleAlert aria-hidden='true' />
              {fault.text}
            </p>
          )}
        </div>
        <button type='submit' className='button button-primary sign-in-submit' aria-disabled={isBusy}>
          {isNew ? (isBusy ? 'Creating account…' : 'Create account') : isBusy ? 'Signing in…' : 'Sign in'}
        </button>
        <p className='sign-in-switch secondary'>
          {isNew ? 'Already have an account? ' : 'No account yet? '}
          <button type='button' className='text-button' onClick={() => switchTo(isNew ? 'sign-in' : 'sign-up')}>
            {isNew ? 'Sign in' : 'Create an account'}
          </button>
        </p>
      </form>
    </main>
  )
}

function findFault(mode: Mode, input: { handle: string; password: string; name: string }): Fault | undefined {
  if (mode === 'sign-up' && input.name === '') return { field: 'name', text: 'Enter your name.' }
  if (input.handle === '') return { field: 'handle', text: 'Enter your username.' }
  if (mode === 'sign-up' && !/^[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?$/.test(input.handle)) {
    return { field: 'handle', text: 'Use only letters, digits, dots, dashes and underscores.' }
  }
  if (input.password === '') return { field: 'password', text: 'Enter your password.' }
  if (mode === 'sign-up' && input.password.length < limits.passwordMinChars) {
    return { field: 'password', text: `Use at least ${limits.passwordMinChars} characters.` }
  }
  return undefined
}

function explainSignIn(mode: Mode, error: unknown): Fault {
  if (!(error instanceof ChorusError)) return { text: explainError(error) }
  if (mode === 'sign-in' && error.code === 'unauthenticated') {
    return { field: 'password', text: 'That username and password don’t match.' }
  }
  if (mode === 'sign-up' && error.code === 'conflict') return { field: 'handle', text: 'That username is taken.' }
  if (mode === 'sign-up' && error.code === 'forbidden') {
    return { text: 'This server doesn’t allow new accounts. Ask its administrator for one.' }
  }
  return { text: explainError(error) }
}

interface FieldProps extends InputHTMLAttributes<HTMLInputElement> {
  readonly label: string
  readonly hint?: string | undefined
  readonly error?: string | undefined
}

function Field({ label, hint, error, ...input }: FieldProps) {
  const id = useId()
  const note = error ?? hint
  return (
    <div className='field'>
      <label className='field-label' htmlFor={id}>
        {label}
      </label>
      <input
        {...input}
        id={id}
        className='input'
        aria-invalid={error !== undefined}
        aria-describedby={note === undefined ? undefined : `${id}-note`}
      />
      {note !== undefined && (
        <p id={`${id}-note`} className={error === undefined ? 'field-hint' : 'field-error'}>
          {note}
        </p>
      )}
    </div>
  )
}

function Logo({ sizePx = 48 }: { readonly sizePx?: number }) {
  return <img src='/favicon.svg' alt='' width={sizePx} height={sizePx} className='logo' />
}
