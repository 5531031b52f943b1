/**
 * A line of text, shown when the browser cannot store data (a private window, a refused or broken
 * database). The user can dismiss it.
 */
import { useStorage } from '@chorus/react'
import { X } from 'lucide-react'
import { useState } from 'react'
import { IconButton } from '../ui/icon-button.tsx'
import './storage-line.css'

export function StorageLine() {
  const storage = useStorage()
  const [isClosed, setIsClosed] = useState(false)
  return (
    <div role='status'>
      {storage === 'memory' && !isClosed && (
        <p className='storage-line'>
          This browser can’t save data. Unsent messages are lost when you reload the page.
          <IconButton label='Dismiss' onClick={() => setIsClosed(true)}>
            <X />
          </IconButton>
        </p>
      )}
    </div>
  )
}
