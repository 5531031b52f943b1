import { describe, expect, it } from 'vitest'
import { ConfigError, describeSettings, readConfig } from './config.ts'

describe('the configuration', () => {
  it('every variable of the configuration has a default', () => {
    const config = readConfig({})
    expect(config).toMatchObject({
      host: '127.0.0.1',
      port: 3000,
      databaseUrl: undefined,
      signUp: 'open',
      limitSends: 30,
      limitRequests: 100,
      limitKeyRequests: 1_000,
      limitSignIns: 10,
      limitSignInsAddress: 100,
      limitConnections: 200,
      logLevel: 'info',
      allowedOrigins: [],
    })
    expect(config.serverName).toMatch(/:3000$/)
    expect(config.dataDir).toMatch(/^\/.*\/data$/)
    expect(Object.isFrozen(config)).toBe(true)
    expect(Object.isFrozen(config.allowedOrigins)).toBe(true)
  })

  it('takes the audience of tokens from PUBLIC_URL', () => {
    expect(readConfig({}).tokenAudience).toBeUndefined()
    expect(readConfig({ PUBLIC_URL: 'https://chat.example/' }).tokenAudience).toBe('https://chat.example')
  })

  it('refuses an origin in both lists', () => {
    const origins = { ALLOWED_ORIGINS: 'https://a.example', EMBED_ORIGINS: 'https://b.example,https://a.example/' }
    expect(() => readConfig(origins)).toThrow('EMBED_ORIGINS is "https://a.example"; expected no origin of ALLOWED')
  })

  it('[HOOK1] needs address and secret of the pre-send hook together', () => {
    const url = { PRE_SEND_HOOK_URL: 'http://10.0.0.7:4000/hook?a=1' }
    const secret = { PRE_SEND_HOOK_SECRET: `whsec_${btoa('a secret of thirty-two bytes, yes')}` }
    expect(readConfig({})).toMatchObject({ preSendHookUrl: undefined, preSendHookFailure: 'closed' })
    expect(readConfig({ ...url, ...secret })).toMatchObject({ preSendHookUrl: url.PRE_SEND_HOOK_URL })
    expect(() => readConfig(url)).toThrow('expected PRE_SEND_HOOK_SECRET to be set as well')
    expect(() => readConfig(secret)).toThrow('expected PRE_SEND_HOOK_URL to be set as well')
    const short = catchError(() => readConfig({ ...url, PRE_SEND_HOOK_SECRET: 'hunter2' }))
    expect(short.message).toBe('PRE_SEND_HOOK_SECRET is (hidden); expected whsec_ and 24 to 64 bytes in base64')
  })

  it('treats an empty environment variable as unset', () => {
    expect(readConfig({ HOST: '', PORT: ' ', DATABASE_URL: '' })).toEqual(readConfig({}))
  })

  it('reads every environment variable of the configuration', () => {
    const config = readConfig({
      HOST: '::1',
      PORT: '0',
      SERVER_NAME: 'chat-1',
      DATABASE_URL: 'postgres://u:p@db:5432/chat',
      DATA_DIR: '/var/lib/chorus',
      METRICS_PORT: '9090',
      PUBLIC_URL: 'https://chat.example/',
      ALLOWED_ORIGINS: 'https://a.example, http://localhost:5173',
      EMBED_ORIGINS: 'https://shop.example',
      TOKEN_AUDIENCE: 'chat',
      TRUSTED_PROXIES: '10.0.0.0/8,::1',
      SIGN_UP: 'closed',
      LIMIT_SENDS: '0',
      LOG_LEVEL: 'warn',
    })
    expect(config).toMatchObject({
      host: '::1',
      port: 0,
      serverName: 'chat-1',
      databaseUrl: 'postgres://u:p@db:5432/chat',
      dataDir: '/var/lib/chorus',
      metricsPort: 9090,
      publicUrl: 'https://chat.example',
      allowedOrigins: ['https://a.example', 'http://localhost:5173'],
      embedOrigins: ['https://shop.example'],
      tokenAudience: 'chat',
      trustedProxies: ['10.0.0.0/8', '::1'],
      signUp: 'closed',
      limitSends: 0,
      logLevel: 'warn',
    })
  })

  it.each([
    ['PORT', 'eighty'],
    ['PORT', '65536'],
    ['PORT', '-1'],
    ['PORT', '3000.5'],
    ['HOST', 'two words'],
    ['SERVER_NAME', 'a b'],
    ['METRICS_PORT', '99999'],
    ['PUBLIC_URL', 'chat.example'],
    ['PUBLIC_URL', 'ftp://chat.example'],
    ['PUBLIC_URL', 'https://chat.example/path'],
    ['PUBLIC_URL', 'https://user@chat.example'],
    ['ALLOWED_ORIGINS', '*'],
    ['ALLOWED_ORIGINS', 'https://a.example,,'],
    ['TRUSTED_PROXIES', '10.0.0.0/99'],
    ['SIGN_UP', 'maybe'],
    ['LIMIT_SENDS', '-1'],
    ['LIMIT_CONNECTIONS', 'many'],
    ['LOG_LEVEL', 'loud'],
    ['DRAIN_NOTICE_MS', '5001'],
    ['DRAIN_MS', 'soon'],
  ])('refuses %s=%s in one line that names variable, value and expectation', (variable, value) => {
    const refused = catchError(() => readConfig({ [variable]: value }))
    expect(refused).toBeInstanceOf(ConfigError)
    expect(refused.message).toContain(`${variable} is "${value}"; expected `)
    expect(refused.message).not.toContain('\n')
  })

  it.each([
    ['REDIS_URL', 'redis://host/chat'],
    ['REDIS_URL', 'redis://host/0/1'],
    ['REDIS_URL', 'redis://host/-1'],
    ['REDIS_URL', 'redis://host/1.5'],
    ['REDIS_URL', 'redis://host?db=1'],
    ['REDIS_URL', 'redis://host#1'],
    ['REDIS_URL', 'redis://:pa%ss-hunter2@host'],
    ['REDIS_URL', 'redis://us%er:hunter2@host'],
    ['REDIS_URL', 'redis://:hunter2%@host'],
    ['REDIS_URL', 'redis://:hunter2%zz@host'],
    ['REDIS_URL', 'redis://:hunter2%ff@host'],
    ['REDIS_URL', 'redis://:hunter2/x@host:6379'],
    ['REDIS_URL', 'redis://u:1/hunter2@host:6379'],
    ['REDIS_URL', 'redis://u:1#hunter2@host:6379'],
    ['REDIS_URL', 'redis://u:1?hunter2@host:6379'],
    ['REDIS_URL', 'redis://hunter2@x@host:6379/chat'],
    ['REDIS_URL', 'redis://host:0'],
    ['REDIS_URL', 'redis://host:70000'],
    ['REDIS_URL', 'redis://host:port'],
    ['REDIS_URL', 'redis://'],
    ['REDIS_URL', 'redis://:6379'],
    ['REDIS_URL', 'redis:///0'],
    ['REDIS_URL', 'redis:host'],
    ['REDIS_URL', 'redis://ho st'],
    ['REDIS_URL', 'redis://host /0'],
    ['REDIS_URL', 'redis://ho\tst'],
    ['REDIS_URL', 'http://host:6379'],
    ['REDIS_URL', 'host:6379'],
    ['REDIS_URL', 'hunter2:6379'],
    ['REDIS_SUBSCRIBE_URL', 'redis://host/chat'],
    ['REDIS_SUBSCRIBE_URL', 'redis://:hunter2%@host'],
    ['DATABASE_URL', 'postgres://u:hunter2%@db/chat'],
    ['DATABASE_URL', 'postgres://u:p@db:0/chat'],
    ['DATABASE_URL', 'postgres://u:p@db:99999/chat'],
    ['DATABASE_URL', 'postgres:///chat'],
    ['DATABASE_URL', 'postgres://db/cha%t'],
    ['DATABASE_URL', 'postgres://db/chat other'],
    ['DATABASE_URL', 'postgres://u:1/hunter2@db/chat'],
    ['SMTP_URL', 'smtp://u:hunter2%@mail'],
    ['SMTP_URL', 'smtp://u:p@mail:0'],
    ['SMTP_URL', 'smtp://:hunter2@mail'],
    ['SMTP_URL', 'smtp://'],
    ['SMTP_URL', 'smtp://mail/path'],
    ['SMTP_URL', 'mailto:x@mail'],
    ['AVATAR_ORIGINS', '*'],
    ['AVATAR_ORIGINS', 'https://a.example/path'],
    ['AVATAR_ORIGINS', 'http://a.example'],
    ['AVATAR_ORIGINS', 'https://a;script-src'],
    ['AVATAR_ORIGINS', 'https://*.example'],
    ['PUBLIC_URL', 'https://chat.example:0'],
  ])('refuses %s=%s in one line that shows no password', (variable, value) => {
    const refused = catchError(() =>
      readConfig({ DATABASE_URL: 'postgres://db/chat', REDIS_URL: 'redis://r', [variable]: value }),
    )
    expect(refused).toBeInstanceOf(ConfigError)
    expect(refused.message).toMatch(new RegExp(`^${variable} is [^\\n]*; expected [^\\n]*$`))
    expect(refused.message).not.toContain('hunter2')
  })

  it.each([
    ['REDIS_URL', 'redis://host'],
    ['REDIS_URL', 'redis://host/'],
    ['REDIS_URL', 'rediss://user:p%25%40%2F@host:6380/3'],
    ['REDIS_URL', 'redis://:password@[2001:db8::1]:6379/0'],
    ['DATABASE_URL', 'postgres://u:p%25@db:5432/chat?sslmode=require'],
    ['DATABASE_URL', 'postgresql:///chat?host=/run/postgresql'],
    ['DATABASE_URL', 'postgres://u@%2Frun%2Fpostgresql/chat'],
    ['SMTP_URL', 'smtps://u%40example.org:p@mail:465'],
    ['SMTP_URL', 'smtp://mail/'],
  ])('the configuration accepts %s=%s', (variable, value) => {
    const others = { DATABASE_URL: 'postgres://db/chat', MAIL_FROM: 'a@b.example', PUBLIC_URL: 'https://b.example' }
    expect(Object.values(readConfig({ ...others, [variable]: value }))).toContain(value)
  })

  it('an error about a database URL never shows its password', () => {
    const wrong = catchError(() => readConfig({ DATABASE_URL: 'mysql://root:hunter2@db/chat' }))
    expect(wrong.message).toContain('DATABASE_URL is "mysql://…@db/chat"; expected postgres://')
    expect(wrong.message).not.toContain('hunter2')
    expect(catchError(() => readConfig({ DATABASE_URL: 'hunter2' })).message).toContain('DATABASE_URL is (hidden)')
  })

  it('a stop waits for load balancers only in a cluster, within its time limit', () => {
    expect(readConfig({})).toMatchObject({ drainNoticeMs: 0, drainMs: 1_000 })
    expect(readConfig({ DRAIN_NOTICE_MS: '3000', DRAIN_MS: '6000' })).toMatchObject({
      drainNoticeMs: 3_000,
      drainMs: 6_000,
    })
    const refused = catchError(() => readConfig({ DRAIN_NOTICE_MS: '3001', DRAIN_MS: '6000' }))
    expect(refused.message).toMatch(/^DRAIN_MS is "6000"; expected .*DRAIN_NOTICE_MS/)
  })

  it('refuses settings that contradict each other', () => {
    expect(catchError(() => readConfig({ REDIS_SUBSCRIBE_URL: 'redis://r' })).message).toContain('REDIS_URL')
    expect(catchError(() => readConfig({ REDIS_URL: 'redis://r' })).message).toContain('DATABASE_URL')
    expect(readConfig({ REDIS_URL: 'redis://r', DATABASE_URL: 'postgres://db/chat' }).redisUrl).toBe('redis://r')
    expect(catchError(() => readConfig({ PORT: '4000', METRICS_PORT: '4000' })).message).toContain('METRICS_PORT')
  })

  it('the configuration reference describes each variable once', () => {
    const names = describeSettings().map(({ variable }) => variable)
    expect(new Set(names).size).toBe(names.length)
    expect(names).toContain('ALLOWED_ORIGINS')
    for (const { meaning, default: byDefault, expected } of describeSettings()) {
      expect([meaning, byDefault, expected].every((text) => text.length > 0)).toBe(true)
    }
  })
})

function catchError(action: () => unknown): Error {
  try {
    action()
  } catch (error) {
    if (error instanceof Error) return error
  }
  throw new Error('nothing was thrown')
}
