/**
 * A thin bar shown while the server is unreachable or refuses the connection. While the client
 * reconnects, the bar appears after a delay, so that short interruptions show nothing.
 */
import type { ConnectionStatus } from '@chorus/client'
import { useConnection, useOutbox } from '@chorus/react'
import { CloudOff, LoaderCircle } from 'lucide-react'
import { useEffect, useState } from 'react'
import './connection-banner.css'

type Trouble = 'none' | 'offline' | 'reconnecting' | 'refused'

const patienceMs = 1_500

function troubleOf(status: ConnectionStatus): Trouble {
  switch (status.state) {
    case 'idle':
    case 'ready':
    case 'moving':
      return 'none'
    case 'replaying':
    case 'connecting':
    case 'waiting':
      return 'reconnecting'
    case 'offline':
      return 'offline'
    case 'closed':
      return status.reason === 'refused' ? 'refused' : 'none'
  }
}

export function ConnectionBanner() {
  const connection = useConnection()
  const trouble = troubleOf(connection)
  const isPatient = usePatience(trouble)
  const waiting = useOutbox().filter(({ status }) => status.state === 'pending').length
  const shown = isPatient && trouble === 'reconnecting' ? 'none' : trouble
  return (
    <div role='status' className='banner-place'>
      {shown === 'offline' && (
        <p className='banner' data-testid='connection-banner' data-state='offline'>
          <CloudOff aria-hidden='true' />
          Offline. Messages will be sent when you’re back online.
          {waiting > 0 && <span className='banner-count'>{waiting} waiting</span>}
        </p>
      )}
      {shown === 'reconnecting' && (
        <p className='banner' data-testid='connection-banner' data-state='reconnecting'>
          <LoaderCircle aria-hidden='true' className='banner-spinner' />
          Reconnecting… Messages will be sent once you’re connected.
          {waiting > 0 && <span className='banner-count'>{waiting} waiting</span>}
        </p>
      )}
      {shown === 'refused' && (
        <p className='banner' data-testid='connection-banner' data-state='refused'>
          The server refused this connection.
          <button type='button' className='text-button' onClick={() => window.location.reload()}>
            Reload
          </button>
        </p>
      )}
    </div>
  )
}

/**
 * Returns true until a connection problem has lasted 1.5 s. While it returns true, the bar does not
 * show a reconnection.
 */
function usePatience(trouble: Trouble): boolean {
  const isTroubled = trouble !== 'none'
  const [isPatient, setIsPatient] = useState(true)
  useEffect(() => {
    if (!isTroubled) {
      setIsPatient(true)
      return
    }
    const timer = setTimeout(() => setIsPatient(false), patienceMs)
    return () => clearTimeout(timer)
  }, [isTroubled])
  return isPatient
}
