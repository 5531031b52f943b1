/**
 * Avatar of a person: their picture, or their initials on a colour of their own, with a dot for
 * their presence if it is known. The server's content security policy decides which pictures the
 * browser may load, so no other server learns a reader's IP address.
 */
import type { PresenceStatus } from '@chorus/client'
import { useReducer, type CSSProperties } from 'react'
import { hueOf, initialsOf } from './identity.ts'
import './avatar.css'

interface AvatarProps {
  readonly id: string
  readonly name: string
  readonly picture?: string | null
  readonly sizePx?: number
  readonly presence?: PresenceStatus | undefined
}

/**
 * Returns the style that sets the hue of a person. The colour tokens `--person-…` are computed from
 * it.
 */
export function personHue(id: string): CSSProperties {
  return { '--hue': String(hueOf(id)) } as CSSProperties
}

/**
 * Addresses of pictures that the browser refused or could not load. They are not tried again until
 * the browser is online again.
 */
const refused = new Set<string>()
const refusedMax = 1_000
window.addEventListener('online', () => refused.clear())

export function Avatar({ id, name, picture, sizePx = 36, presence }: AvatarProps) {
  const [, render] = useReducer((count: number) => count + 1, 0)
  const refuse = (address: string): void => {
    if (refused.size >= refusedMax) refused.clear()
    refused.add(address)
    render()
  }
  return (
    <span
      className='avatar'
      style={{ ...personHue(id), width: sizePx, height: sizePx, fontSize: Math.round(sizePx * 0.39) }}
      aria-hidden='true'
    >
      {picture === undefined || picture === null || refused.has(picture) ? (
        <span className='avatar-initials' data-initials={initialsOf(name)} />
      ) : (
        <img
          className='avatar-picture'
          src={picture}
          alt=''
          loading='lazy'
          decoding='async'
          referrerPolicy='no-referrer'
          onError={() => refuse(picture)}
        />
      )}
      {(presence === 'online' || presence === 'away') && <span className={`avatar-dot avatar-dot-${presence}`} />}
    </span>
  )
}
