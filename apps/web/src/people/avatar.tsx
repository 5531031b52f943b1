/** A person's picture, or their initials on their hue; with a dot for their presence where it is known. */
import type { PresenceStatus } from '@chorus/client'
import type { CSSProperties } from 'react'
import { hueOf, initialsOf } from './identity.ts'
import './avatar.css'

interface AvatarProps {
  readonly id: string
  readonly name: string
  readonly picture?: string | null
  readonly sizePx?: number
  readonly presence?: PresenceStatus | undefined
}

/** Sets the hue that the `--person-…` tokens are made from. */
export function personHue(id: string): CSSProperties {
  return { '--hue': String(hueOf(id)) } as CSSProperties
}

export function Avatar({ id, name, picture, sizePx = 36, presence }: AvatarProps) {
  return (
    <span
      className='avatar'
      style={{ ...personHue(id), width: sizePx, height: sizePx, fontSize: Math.round(sizePx * 0.39) }}
      aria-hidden='true'
    >
      {picture === undefined || picture === null ? (
        <span className='avatar-initials' data-initials={initialsOf(name)} />
      ) : (
        <img
          className='avatar-picture'
          src={picture}
          alt=''
          loading='lazy'
          decoding='async'
          referrerPolicy='no-referrer'
        />
      )}
      {(presence === 'online' || presence === 'away') && <span className={`avatar-dot avatar-dot-${presence}`} />}
    </span>
  )
}
