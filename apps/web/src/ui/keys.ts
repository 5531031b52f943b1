/**
 * Interprets keyboard events the same way in every field and list. Keys of an input method are
 * never commands. On a layout without Latin letters, a shortcut follows the position of its key.
 */
interface Key {
  readonly key: string
  readonly code: string
  readonly shiftKey: boolean
}

interface ComposedKey {
  readonly isComposing: boolean
  readonly keyCode: number
}

/**
 * Returns whether an input method (Japanese, Chinese, Korean, dictation) handles the key. Safari
 * ends the composition before it reports the key that ended it. That key, like every key of an
 * input method, has the code 229.
 */
export function isComposing({ isComposing: isInside, keyCode }: ComposedKey): boolean {
  return isInside || keyCode === 229
}

/**
 * Returns the key in lower case. On a layout without Latin letters, returns the Latin letter at the
 * key's position.
 */
export function latinKey({ key, code, shiftKey }: Key): string {
  if (/[^\u0000-\u007f]/.test(key)) {
    const letter = /^Key([A-Z])$/.exec(code)?.[1]
    if (letter !== undefined) return letter.toLowerCase()
    if (code === 'Slash' && shiftKey) return '?'
  }
  return key.toLowerCase()
}

/**
 * Hides the keys of an input method from every listener of the page, so that no field can forget
 * this check. Also prevents Enter from submitting the form of a one-line field.
 */
export function guardCompositions(page: Window): void {
  page.addEventListener(
    'keydown',
    (event) => {
      if (!isComposing(event)) return
      event.stopImmediatePropagation()
      if (event.key === 'Enter' && event.target instanceof HTMLInputElement) event.preventDefault()
    },
    true,
  )
}
