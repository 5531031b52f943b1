/**
 * Converts between page addresses and routes of the application. Pure: `use-route.ts` handles the
 * browser's history. An unknown address becomes the route of the conversation list.
 */
export type SettingsSection = 'profile' | 'appearance' | 'sessions'

export type Route =
  | { readonly at: 'home' }
  | { readonly at: 'conversation'; readonly conversation: string; readonly seq?: number }
  | { readonly at: 'settings'; readonly section: SettingsSection }

const settingsSections: readonly SettingsSection[] = ['profile', 'appearance', 'sessions']

export function parseRoute(path: string): Route {
  const parts = path.split('/').filter((part) => part !== '')
  const [first, second, third] = parts
  if (first === 'c' && second !== undefined && /^[0-9a-f-]{36}$/i.test(second) && parts.length <= 3) {
    const conversation = second.toLowerCase()
    if (third === undefined) return { at: 'conversation', conversation }
    if (/^[1-9]\d{0,15}$/.test(third)) return { at: 'conversation', conversation, seq: Number(third) }
  }
  if (first === 'settings' && parts.length <= 2) {
    const section = settingsSections.find((name) => name === (second ?? 'profile'))
    if (section !== undefined) return { at: 'settings', section }
  }
  return { at: 'home' }
}

export function formatRoute(route: Route): string {
  switch (route.at) {
    case 'home':
      return '/'
    case 'conversation':
      return route.seq === undefined ? `/c/${route.conversation}` : `/c/${route.conversation}/${route.seq}`
    case 'settings':
      return route.section === 'profile' ? '/settings' : `/settings/${route.section}`
  }
}
