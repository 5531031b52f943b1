import { X } from 'lucide-react'
import { useSyncExternalStore } from 'react'
import { dismissNotice, noticesStore } from '../notices/notices.ts'
import { IconButton } from '../ui/icon-button.tsx'
import './notices.css'

/**
 * Shows the notices (short texts about the result of an action). Its live region is polite: a
 * screen reader finishes its sentence before it reads a notice.
 */
export function Notices() {
  const notices = useSyncExternalStore(noticesStore.subscribe, noticesStore.get)
  return (
    <div className='notices' role='status'>
      {notices.map(({ id, tone, text }) => (
        <div key={id} className={`notice notice-${tone}`}>
          <span className='notice-text'>{text}</span>
          <IconButton label='Dismiss' className='notice-dismiss' onClick={() => dismissNotice(id)}>
            <X />
          </IconButton>
        </div>
      ))}
    </div>
  )
}
