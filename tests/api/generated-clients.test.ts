/**
 * Clients that openapi-generator makes from our OpenAPI document. The TypeScript, Go and Python
 * clients must compile. The Go client must also read the responses of a real server, and ignore
 * fields that it does not know.
 *
 * The generator is a Java program of 30 MB. The test looks for it in OPENAPI_GENERATOR_JAR and in
 * Maven's folder, or fetches it with Maven. If a needed program is missing, the test is skipped
 * with a reason. portable-schema.test.ts checks the schema rules behind these tests without the
 * generator.
 */
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { HttpUser } from '@chorus/testkit'
import type { ServerProcess } from '@chorus/testkit'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { startQuickServer } from '../quick-server.ts'

const run = promisify(execFile)
const version = '7.14.0'
const artifact = `org.openapitools:openapi-generator-cli:${version}`
const jarOfMaven = join(
  homedir(),
  `.m2/repository/org/openapitools/openapi-generator-cli/${version}/openapi-generator-cli-${version}.jar`,
)
const tsc = fileURLToPath(new URL('../../node_modules/.bin/tsc', import.meta.url))
const timeoutMs = 240_000

let server: ServerProcess
let folder: string
/** Reason why no clients were generated. Undefined if they were. */
let absence: string | undefined

async function has(program: string, ...args: string[]): Promise<boolean> {
  return run(program, args).then(
    () => true,
    () => false,
  )
}

async function findGenerator(): Promise<string | undefined> {
  const known = [process.env.OPENAPI_GENERATOR_JAR ?? '', jarOfMaven].find((path) => path !== '' && existsSync(path))
  if (known !== undefined) return known
  if (!(await has('mvn', '-q', 'dependency:get', `-Dartifact=${artifact}`, '-Dtransitive=false'))) return undefined
  return existsSync(jarOfMaven) ? jarOfMaven : undefined
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'chorus-clients-'))
  server = await startQuickServer({ env: { LIMIT_REQUESTS: '0' } })
  if (!(await has('java', '-version'))) {
    absence = 'no Java is installed'
    return
  }
  const jar = await findGenerator()
  if (jar === undefined) {
    absence = 'openapi-generator is not there and cannot be fetched'
    return
  }
  const { body } = await HttpUser.stranger(server.url).expect<object>(200, 'GET', '/v1/openapi.json')
  await writeFile(join(folder, 'openapi.json'), JSON.stringify(body))
  for (const generator of ['go', 'typescript-fetch', 'java', 'python'])
    await writeFile(
      join(folder, `${generator}.yaml`),
      [
        `generatorName: ${generator}`,
        `outputDir: ${join(folder, generator)}`,
        `inputSpec: ${join(folder, 'openapi.json')}`,
        'additionalProperties:',
        '  packageName: chorus',
        ...(generator === 'java' ? ['  library: native'] : []),
      ].join('\n'),
    )
  const configurations = ['go', 'typescript-fetch', 'java', 'python'].map((generator) =>
    join(folder, `${generator}.yaml`),
  )
  await run('java', ['-XX:TieredStopAtLevel=1', '-jar', jar, 'batch', '--fail-fast', ...configurations], {
    timeout: timeoutMs,
    maxBuffer: 64 * 1024 * 1024,
  })
}, timeoutMs)

afterAll(async () => {
  await server.remove()
  await rm(folder, { recursive: true, force: true })
})

it(
  'the generated TypeScript client compiles',
  async (context) => {
    if (absence !== undefined) return context.skip(absence)
    const options = [
      '--noEmit',
      '--strict',
      '--target',
      'es2022',
      '--module',
      'esnext',
      '--moduleResolution',
      'bundler',
    ]
    const { stdout } = await run(
      process.execPath,
      [tsc, ...options, '--lib', 'es2022,dom,dom.iterable', '--skipLibCheck', 'index.ts'],
      { cwd: join(folder, 'typescript-fetch') },
    )
    expect(stdout).toBe('')
  },
  timeoutMs,
)

it(
  'the generated Go client reads server responses, and ignores unknown fields',
  async (context) => {
    if (absence !== undefined) return context.skip(absence)
    if (!(await has('go', 'version'))) return context.skip('no Go is installed')
    const client = join(folder, 'go')
    const go = (...args: string[]) =>
      run('go', args, { cwd: client, env: { ...process.env, GOFLAGS: '-mod=mod' }, timeout: timeoutMs })
    if (
      !(await go('mod', 'download').then(
        () => true,
        () => false,
      ))
    )
      return context.skip('the modules of the Go client cannot be fetched')
    const ada = await HttpUser.signUp(() => server.url)
    const ben = await HttpUser.signUp(() => server.url)
    const conversation = await ada.createConversation('direct', [ben.id])
    await ada.expect(201, 'POST', `/v1/conversations/${conversation}/messages`, {
      clientId: '01900000-0000-4000-8000-000000000001',
      text: 'for Go',
      data: { list: [1, 'two', null] },
    })
    await writeFile(
      join(client, 'client_test.go'),
      `package chorus
import ("context"; "encoding/json"; "testing")
func TestClient(t *testing.T) {
	configuration := NewConfiguration()
	configuration.Servers = ServerConfigurations{{URL: ${JSON.stringify(server.url)}}}
	configuration.AddDefaultHeader("cookie", ${JSON.stringify(ada.cookie)})
	client := NewAPIClient(configuration)
	page, _, err := client.DefaultAPI.ListMessages(context.Background(), ${JSON.stringify(conversation)}).Execute()
	if err != nil || len(page.Messages) != 1 || page.Messages[0].Text != "for Go" { t.Fatal(err, page) }
	if page.Messages[0].Data == nil { t.Fatal("no data") }
	changes, _, err := client.DefaultAPI.ListChanges(context.Background(), ${JSON.stringify(conversation)}).Execute()
	if err != nil || len(changes.Changes) < 2 { t.Fatal(err, changes) }
	sync, _, err := client.DefaultAPI.Sync(context.Background()).Execute()
	if err != nil || len(sync.Conversations) != 1 { t.Fatal(err, sync) }
	list, _, err := client.DefaultAPI.ListConversations(context.Background()).Execute()
	if err != nil || len(list.Conversations) != 1 { t.Fatal(err, list) }
	var later Change
	text := \`{"seq":9007199254740991,"type":"poll.opened","at":"2026-01-01T00:00:00Z","actor":"01900000-0000-7000-8000-000000000001","poll":{}}\`
	if err := json.Unmarshal([]byte(text), &later); err != nil || later.Seq != 9007199254740991 { t.Fatal(err) }
}
`,
    )
    await rm(join(client, 'test'), { recursive: true, force: true })
    const { stdout } = await go('test', '.').catch((error: { stdout: string; stderr: string }) => {
      throw new Error(`${error.stdout}\n${error.stderr}`)
    })
    expect(stdout).toMatch(/^ok/)
  },
  timeoutMs,
)

it(
  'the generated Python client compiles',
  async (context) => {
    if (absence !== undefined) return context.skip(absence)
    if (!(await has('python3', '--version'))) return context.skip('no Python is installed')
    await run('python3', ['-m', 'compileall', '-q', '.'], { cwd: join(folder, 'python') })
  },
  timeoutMs,
)
