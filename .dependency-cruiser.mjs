/**
 * The import arrows of ARCHITECTURE.md, each with its reason, and the check that nothing imports in a circle (types
 * included: a knot of types is as hard to read as a knot of code).
 */
const test = '[.]test[.]tsx?$'

/** Inside the server: `from` may import only these places of the server, besides itself. */
function serverArrow(from, allowed, comment) {
  const own = from.endsWith('.ts')
    ? `^packages/server/src/${from.replace('.', '[.]')}$`
    : `^packages/server/src/${from}/`
  const may = allowed.map((place) => (place.endsWith('.ts') ? `${place.replace('.', '[.]')}$` : `${place}/`))
  return {
    name: `server-${from.replace('.ts', '')}`,
    comment,
    severity: 'error',
    // A test may join the parts that a command joins.
    from: { path: own, pathNot: [test, '/testing/'] },
    to: { path: '^packages/server/src/', pathNot: [own, `^packages/server/src/(${may.join('|')})`] },
  }
}

/** Between packages: `from` may not import `to`. */
function packageArrow(name, from, to, comment) {
  return { name, comment, severity: 'error', from: { path: from }, to: { path: to } }
}

export default {
  forbidden: [
    {
      name: 'no-cycles',
      comment: 'Files that import each other can only be understood together. Move what both need into a third file.',
      severity: 'error',
      from: {},
      to: { circular: true },
    },
    {
      name: 'not-to-unresolvable',
      comment: 'The import leads nowhere.',
      severity: 'error',
      from: {},
      to: { couldNotResolve: true, pathNot: '^virtual:' },
    },
    {
      name: 'not-from-source-to-test',
      comment: 'What ships must not need what tests it.',
      severity: 'error',
      from: { path: '^(packages|apps)/[^/]+/src/', pathNot: [test, '/testing/', '[.]suite[.]ts$'] },
      to: { path: [test, '/testing/', '[.]suite[.]ts$'] },
    },
    {
      name: 'not-to-dev-dependency',
      comment: 'A package that runs must list what it imports under dependencies, or a production install breaks.',
      severity: 'error',
      from: { path: '^packages/(protocol|server|client|react)/src/', pathNot: [test, '/testing/', '[.]suite[.]ts$'] },
      to: { dependencyTypes: ['npm-dev'], dependencyTypesNot: ['npm', 'npm-peer', 'type-only'] },
    },

    packageArrow(
      'protocol-imports-nothing-of-ours',
      '^packages/protocol/',
      '^(packages/(?!protocol/)|apps/|tests/|lab/)',
      'The wire is the bottom: everything imports it.',
    ),
    packageArrow(
      'server-imports-protocol-only',
      '^packages/server/',
      '^(packages/(?!protocol/|server/|testkit/)|apps/|tests/|lab/)',
      'Server and client meet on the wire and nowhere else, so that a foreign client has the same chances.',
    ),
    {
      name: 'server-tests-start-real-parts',
      comment:
        'What ships knows nothing of the testkit. A test of the server may start a real Redis or Postgres with it.',
      severity: 'error',
      from: { path: '^packages/server/', pathNot: [test, '/testing/'] },
      to: { path: '^packages/testkit/' },
    },
    packageArrow(
      'client-imports-protocol-only',
      '^packages/client/',
      '^(packages/(?!protocol/|client/)|apps/|tests/|lab/)',
      'Server and client meet on the wire and nowhere else.',
    ),
    packageArrow(
      'react-imports-client-only',
      '^packages/react/',
      '^(packages/(server|testkit)/|apps/|tests/|lab/)',
      'Hooks hold no logic of their own: they look at the client.',
    ),
    packageArrow(
      'apps-import-react-and-client-only',
      '^apps/',
      '^(packages/(protocol|server|testkit)/|tests/|lab/)',
      'The application is built with the public SDK, so that anybody could have built it.',
    ),
    {
      name: 'apps-stand-alone',
      comment: 'Applications share packages, not each other.',
      severity: 'error',
      from: { path: '^apps/([^/]+)/' },
      to: { path: '^apps/', pathNot: '^apps/$1/' },
    },
    packageArrow(
      'testkit-imports-server-and-client',
      '^packages/testkit/',
      '^(packages/react/|apps/|tests/|lab/)',
      'The testkit starts servers and talks to them; it knows no application.',
    ),
    packageArrow(
      'tests-import-testkit',
      '^(tests|lab)/',
      '^(packages/(server|react)/|apps/)',
      'What needs several packages goes through real processes and the public wire, by way of the testkit.',
    ),

    {
      name: 'client-runs-in-browsers',
      comment: 'Only what is exported from @chorus/client/node may use Node itself.',
      severity: 'error',
      from: {
        path: '^packages/client/src/',
        pathNot: [test, '/testing/', '[.]suite[.]ts$', '^packages/client/src/(node|store-file)[.]ts$'],
      },
      to: { dependencyTypes: ['core'] },
    },
    {
      name: 'sql-lives-in-store',
      comment: 'store/ is the only folder with SQL, so whoever changes a table reads one folder.',
      severity: 'error',
      from: { path: '^packages/server/src/', pathNot: ['^packages/server/src/store/', test] },
      to: { path: ['^node_modules/(pg|@electric-sql/pglite)/', '^node_modules/@types/pg/'] },
    },
    {
      name: 'socket-io-lives-in-socket',
      comment:
        'Socket.IO carries connections and frames on this server. Nothing else may depend on it; the canary is a client.',
      severity: 'error',
      from: { path: '^packages/server/src/', pathNot: ['^packages/server/src/(socket|canary)/', test] },
      to: { path: '^node_modules/(socket[.]io|engine[.]io|ws)/' },
    },
    {
      name: 'fastify-lives-in-http',
      comment: 'Commands and parts do not know by which road a request came.',
      severity: 'error',
      from: { path: '^packages/server/src/(commands|store|fanout|live|jobs|support|socket)/', pathNot: test },
      to: { path: '^node_modules/(fastify|@fastify/[^/]+)/' },
    },

    serverArrow('support', [], 'Errors, logger, metrics and clock know nothing above them.'),
    serverArrow('config.ts', ['support'], 'Configuration is read once, by main and node, and handed down.'),
    serverArrow('access', ['support', 'config.ts'], 'The five parts do not import each other: a command joins them.'),
    serverArrow('store', ['support', 'config.ts'], 'The five parts do not import each other: a command joins them.'),
    serverArrow('fanout', ['support', 'config.ts'], 'The five parts do not import each other: a command joins them.'),
    serverArrow('live', ['support', 'config.ts'], 'The five parts do not import each other: a command joins them.'),
    serverArrow('jobs', ['support', 'config.ts'], 'The five parts do not import each other: a command joins them.'),
    serverArrow(
      'commands',
      ['access', 'store', 'fanout', 'live', 'jobs', 'support', 'config.ts'],
      'A command knows the parts it joins, and not how it was asked.',
    ),
    serverArrow(
      'socket',
      ['commands', 'access', 'store', 'fanout', 'live', 'jobs', 'support', 'config.ts'],
      'The edge asks commands; it knows no other edge.',
    ),
    serverArrow(
      'http',
      ['socket', 'commands', 'access', 'store', 'fanout', 'live', 'jobs', 'support', 'config.ts'],
      'Server-Sent Events are a connection like any other, so http may use socket; not the other way round.',
    ),
    serverArrow(
      'canary',
      ['commands', 'access', 'store', 'support'],
      'The canary is a client: what it tests it meets over the network only.',
    ),
    serverArrow('start-jobs.ts', ['jobs', 'store', 'support', 'config.ts'], 'The wiring of the jobs: node starts it.'),
    serverArrow(
      'node.ts',
      [
        'socket',
        'http',
        'commands',
        'access',
        'store',
        'fanout',
        'live',
        'jobs',
        'support',
        'canary',
        'config.ts',
        'start-jobs.ts',
      ],
      'Only main starts a node.',
    ),
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    exclude: { path: ['/dist/', '^data/', '^docs/'] },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.check.json' },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['source', 'import', 'node', 'types', 'default'],
      mainFields: ['module', 'main', 'types'],
      extensions: ['.ts', '.tsx', '.mjs', '.js', '.d.ts', '.json'],
    },
    skipAnalysisNotInRules: true,
  },
}
