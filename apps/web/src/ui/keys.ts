/**
 * Interprets keyboard events the same way in every field and list. A key that an input method
 * handles is never a command. On a keyboard layout without Latin letters, a shortcut follows the
 * position of its key.
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
 * reports the key that ends a composition only after the end of the composition. That key has the
 * code 229, like every key of an input method.
 */
export function isComposing({ isComposing: isInside, keyCode }: ComposedKey): boolean {
  return isInside || keyCode === 229
}

/**
 * Returns the name of the key in lower case. On a keyboard layout without Latin letters, returns
 * the Latin letter at the position of the key.
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
 * Hides the keys that an input method handles from all other listeners of the page, so that no
 * field needs its own check. Also prevents Enter from submitting a form while an input method uses
 * it.
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
