// Types of `@alga-psa/extension-runtime`. Optional fields that the host left out are null in what it answers.

import type { ClientSummary, Clients, Invoicing, ServiceSummary, Services } from './host-application.js';

export * from './events.js';
export type * from './host-application.js';

// ---- what crosses the border ------------------------------------------------------------------------------------

export interface ContextData {
  requestId?: string | null;
  tenantId: string;
  extensionId: string;
  installId?: string | null;
  versionId?: string | null;
}

export interface HttpHeader {
  name: string;
  value: string;
}

/** To the guest, `url` is path and query; from it, it is absolute. */
export interface HttpRequest {
  method: string;
  url: string;
  headers: HttpHeader[];
  body?: Uint8Array | null;
}

export interface HttpResponse {
  status: number;
  headers: HttpHeader[];
  body?: Uint8Array | null;
}

export interface ExecuteRequest {
  context: ContextData;
  http: HttpRequest;
}

export interface ExecuteResponse {
  status: number;
  headers: HttpHeader[];
  body?: Uint8Array | null;
}

export type HeadersInit = HttpHeader[] | Iterable<readonly [string, string]> | Record<string, string>;

export interface ResponseInit {
  status?: number;
  headers?: HeadersInit;
}

// ---- answers ------------------------------------------------------------------------------------------------------

/** What a handler may return: headers in any form, a text as body in UTF-8. */
export interface HandlerResponse {
  status?: number;
  headers?: HeadersInit;
  body?: Uint8Array | ArrayBuffer | string | null;
}

/** A value as JSON; bytes are taken as JSON that is written already. */
export function jsonResponse(body: unknown, init?: ResponseInit): ExecuteResponse;
export function textResponse(text: string, init?: ResponseInit): ExecuteResponse;
export function bytesResponse(bytes: Uint8Array | ArrayBuffer, init?: ResponseInit): ExecuteResponse;
/** No body; status 204 unless named. */
export function emptyResponse(status?: number, init?: Pick<ResponseInit, 'headers'>): ExecuteResponse;

// ---- handlers -----------------------------------------------------------------------------------------------------

export class HandlerRequest implements ExecuteRequest {
  constructor(request: ExecuteRequest);
  context: ContextData;
  http: HttpRequest;
  /** Path parameters, filled in by a `Router`. */
  params: Record<string, string>;
  readonly method: string;
  /** Path and query, as sent. */
  readonly url: string;
  /** The path, percent-encoded as sent. */
  readonly path: string;
  readonly query: URLSearchParams;
  /** The first header of this name, in whatever case. */
  header(name: string): string | undefined;
  bytes(): Uint8Array;
  text(): string;
  /** Throws `HttpError` 400 when the body is not JSON. */
  json<T = unknown>(): T;
}

/** Asynchronous handlers run on StarlingMonkey; QuickJS runs synchronous ones only. */
export type Handler = (
  request: HandlerRequest,
  host: HostBindings,
) => HandlerResponse | ExecuteResponse | Promise<HandlerResponse | ExecuteResponse>;
export type RouteHandler = Handler;

/** The function to export as `handler`: an `HttpError` is its status, any other throw is logged and a 500. */
export function createHandler(
  handler: Handler | Router,
  host: HostBindings,
): (request: ExecuteRequest) => ExecuteResponse | Promise<ExecuteResponse>;

/** Routes by path and method; `/items/:id` takes one segment as `request.params.id`. */
export class Router {
  constructor(routes?: Record<string, Record<string, RouteHandler>>);
  on(method: string, path: string, handler: RouteHandler): this;
  get(path: string, handler: RouteHandler): this;
  post(path: string, handler: RouteHandler): this;
  put(path: string, handler: RouteHandler): this;
  patch(path: string, handler: RouteHandler): this;
  delete(path: string, handler: RouteHandler): this;
  handle: Handler;
}

/** Thrown by a handler: answered with `status` and `{"error": message, ...details}`. */
export class HttpError extends Error {
  constructor(status: number, message: string, details?: Record<string, unknown>, headers?: Record<string, string>);
  readonly status: number;
  readonly details: Record<string, unknown>;
  readonly headers: Record<string, string>;
}

// ---- the host -----------------------------------------------------------------------------------------------------

export type HostErrorCode =
  | 'missing'
  | 'denied'
  | 'expired'
  | 'conflict'
  | 'internal'
  | 'invalid-url'
  | 'not-allowed'
  | 'transport'
  | 'route-not-found'
  | 'bad-request'
  | 'not-available'
  | 'not-found'
  | 'validation-failed'
  | 'quota-exceeded'
  | 'invalid-input'
  | 'refused';

/** The error case of a WIT `result`; `refused` where that is a text, which is the message then. */
export class HostError extends Error {
  constructor(iface: string, code: HostErrorCode, message?: string);
  readonly interface: string;
  readonly code: HostErrorCode;
}

export interface StorageEntry {
  namespace: string;
  key: string;
  value: Uint8Array;
  revision?: number | null;
}

export interface UserData {
  tenantId: string;
  clientName: string;
  userId: string;
  userEmail: string;
  userName: string;
  userType: string;
}

export interface UserDataV2 extends UserData {
  clientId?: string | null;
  additionalFields: Array<[string, string]>;
}

export interface ScheduleInfo {
  id: string;
  endpointPath: string;
  endpointMethod: string;
  name?: string | null;
  cron: string;
  timezone: string;
  enabled: boolean;
  payload?: string | null;
  lastRunAt?: string | null;
  lastRunStatus?: string | null;
  lastError?: string | null;
  createdAt?: string | null;
}

export interface EndpointInfo {
  id: string;
  method: string;
  path: string;
  handler: string;
  schedulable: boolean;
}

export interface CreateScheduleInput {
  endpoint: string;
  cron: string;
  timezone?: string | null;
  enabled?: boolean | null;
  name?: string | null;
  payload?: string | null;
}

export type UpdateScheduleInput = Partial<CreateScheduleInput>;

export interface CreateScheduleResult {
  success: boolean;
  scheduleId?: string | null;
  error?: string | null;
  fieldErrors?: string | null;
}

export interface UpdateScheduleResult {
  success: boolean;
  error?: string | null;
  fieldErrors?: string | null;
}

export interface DeleteScheduleResult {
  success: boolean;
  error?: string | null;
}

type Bytes = Uint8Array | ArrayBuffer | string;
type Labels = Record<string, string | number | boolean> | Array<[string, string]>;
type Log = (message: string) => void;
type Call = (route: string, payload?: Bytes | null) => Uint8Array;
type List = (namespace: string, cursor?: string | null) => StorageEntry[];
type Listed = ScheduleInfo[];

/** Every call is synchronous. The shorter names are those of earlier releases of this package. */
export interface HostBindings {
  context: { getContext(): ContextData; get(): ContextData };
  logging: { logInfo: Log; logWarn: Log; logError: Log; info: Log; warn: Log; error: Log };
  secrets: { get(key: string): string; listKeys(): string[]; list(): string[] };
  http: { fetch(request: { url: string; method?: string; headers?: HeadersInit; body?: Bytes | null }): HttpResponse };
  storage: {
    get(namespace: string, key: string): StorageEntry;
    /** With a revision, only over that one; with 0, only if there is none: else `conflict`. */
    put(entry: { namespace: string; key: string; value: Bytes; revision?: number | null }): StorageEntry;
    /** `missing` when there is none. */
    delete(namespace: string, key: string): void;
    listEntries: List;
    list: List;
  };
  uiProxy: { callRoute: Call; call: Call };
  user: { getUser(): UserData; getUserV2(): UserDataV2 };
  scheduler: {
    listSchedules(): Listed;
    getSchedule(id: string): ScheduleInfo | null;
    createSchedule(input: CreateScheduleInput): CreateScheduleResult;
    updateSchedule(id: string, input: UpdateScheduleInput): UpdateScheduleResult;
    deleteSchedule(id: string): DeleteScheduleResult;
    getEndpoints(): EndpointInfo[];
    list(): Listed;
    get(id: string): ScheduleInfo | null;
    create(input: CreateScheduleInput): CreateScheduleResult;
    update(id: string, input: UpdateScheduleInput): UpdateScheduleResult;
    delete(id: string): DeleteScheduleResult;
  };
  metrics: {
    counter(name: string, value?: number, labels?: Labels): void;
    gauge(name: string, value: number, labels?: Labels): void;
    histogram(name: string, value: number, labels?: Labels): void;
  };
  config: { get(key: string): string | null; getAll(): Record<string, string> };
  events: { publish(topic: string, payload: Bytes): void };
  invoicing: Invoicing;
  clients: Clients;
  services: Services;
  /** `fetch` over `http`, without promises. */
  fetch: Fetch;
}

/** Imported modules of the world: each `import * as x from 'alga:extension/x'`. */
export interface WorldModules {
  context?: object;
  logging?: object;
  secrets?: object;
  http?: object;
  storage?: object;
  uiProxy?: object;
  user?: object;
  userV2?: object;
  scheduler?: object;
  metrics?: object;
  config?: object;
  events?: object;
  invoicing?: object;
  clients?: object;
  services?: object;
}

/** A service of the host application that the operator declared: its functions, with errors and values as the host's. */
export function bindProvider(name: string, module: object): Record<string, (...given: unknown[]) => unknown>;

/** The host of those interfaces that the guest's world has; what is left out is an error when it is used. */
export function bindHost(modules: WorldModules): HostBindings;

// ---- fetch, texts, console ------------------------------------------------------------------------------------------

export interface FetchInit {
  method?: string;
  headers?: HeadersInit;
  body?: Bytes | URLSearchParams | null;
  /** `manual`, the default, answers with the redirect; `follow` follows up to five, each checked like the first. */
  redirect?: 'manual' | 'follow';
}

export interface FetchHeaders extends Iterable<[string, string]> {
  get(name: string): string | null;
  getSetCookie(): string[];
  has(name: string): boolean;
  forEach(callback: (value: string, name: string, headers: FetchHeaders) => void): void;
  entries(): IterableIterator<[string, string]>;
}

export interface FetchResponse {
  readonly url: string;
  readonly status: number;
  readonly ok: boolean;
  readonly headers: FetchHeaders;
  bytes(): Uint8Array;
  arrayBuffer(): ArrayBuffer;
  text(): string;
  json<T = unknown>(): T;
}

export type Fetch = (resource: string | URL, init?: FetchInit) => FetchResponse;
export function createFetch(http: HostBindings['http']): Fetch;

export function encodeText(text: string): Uint8Array;
export function decodeText(bytes: Uint8Array | ArrayBuffer): string;

type Line = (...values: unknown[]) => void;
type Lines = Record<'log' | 'info' | 'debug' | 'warn' | 'error' | 'trace', Line>;
/** A console whose lines go to the extension's debug stream. */
export function createConsole(
  logging: Pick<HostBindings['logging'], 'logInfo' | 'logWarn' | 'logError'>,
): Lines & { assert(holds: unknown, ...values: unknown[]): void };

// ---- tests --------------------------------------------------------------------------------------------------------

export type MockOverrides = {
  [Name in Exclude<keyof HostBindings, 'fetch' | 'config' | 'secrets' | 'clients' | 'services'>]?: Partial<
    HostBindings[Name]
  >;
} & {
  clients?: Partial<Clients> | ClientSummary[];
  services?: Partial<Services> | ServiceSummary[];
  config?: Partial<HostBindings['config']> | Record<string, string>;
  secrets?: Partial<HostBindings['secrets']> | Record<string, string | HostError> | HostError;
};

export interface MockHostBindings extends HostBindings {
  recorded: {
    logs: Array<{ level: 'info' | 'warn' | 'error'; message: string }>;
    metrics: Array<{
      kind: 'counter' | 'gauge' | 'histogram';
      name: string;
      value: number;
      labels: Record<string, string>;
    }>;
    events: Array<{ topic: string; payload: Uint8Array }>;
    requests: HttpRequest[];
  };
}

/** A host in memory for unit tests; what goes out is refused until it is overridden. */
export function createMockHostBindings(overrides?: MockOverrides): MockHostBindings;
