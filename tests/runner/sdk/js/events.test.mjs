// Delivered events: read as the platform sends them, refused from anybody else.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  HandlerRequest,
  HostError,
  HttpError,
  createMockEvent,
  createMockHostBindings,
  encodeText,
  readEvent,
} from '../../../../runner/sdk/js/src/index.js';

const status = (wanted) => (error) => error instanceof HttpError && error.status === wanted;

test('an event of the platform is read with what it says', () => {
  const event = readEvent(new HandlerRequest(createMockEvent('a.b', { data: { n: 1.5 }, subject: 's', originid: 'o' })));
  assert.deepEqual(event, {
    id: '00000000-0000-4000-8000-000000000001',
    source: '/host',
    type: 'a.b',
    time: '2026-01-01T00:00:00Z',
    tenant: 'tenant-mock',
    subject: 's',
    originId: 'o',
    contentType: 'application/json',
    data: { n: 1.5 },
    payload: null,
  });
});

test('bytes of every length come back as they were', () => {
  for (let length = 0; length < 70; length += 1) {
    const payload = Uint8Array.from({ length }, (_, at) => (at * 37 + length * 11) % 256);
    const call = createMockEvent('a', { payload });
    assert.equal(JSON.parse(new TextDecoder().decode(call.http.body)).data_base64, Buffer.from(payload).toString('base64'));
    assert.deepEqual(readEvent(new HandlerRequest(call)).payload, payload);
  }
});

test('an event that says nothing has neither data nor payload', () => {
  const event = readEvent(new HandlerRequest(createMockEvent('a')));
  assert.deepEqual([event.data, event.payload, event.contentType], [null, null, null]);
});

test('a call that the platform did not make is refused, whatever it holds', () => {
  for (const trigger of [undefined, 'schedule', 'EVENT']) {
    const call = createMockEvent('a', { data: 1 });
    call.http.headers = call.http.headers.filter(({ name }) => name !== 'x-alga-trigger');
    if (trigger) call.http.headers.push({ name: 'x-alga-trigger', value: trigger });
    assert.throws(() => readEvent(new HandlerRequest(call)), status(403));
  }
});

test('what is no event is a 400', () => {
  for (const body of ['', '[]', 'null', '{"specversion":"0.3"}', '{"specversion":"1.0","id":"x"}', '{']) {
    const call = createMockEvent('a');
    call.http.body = encodeText(body);
    assert.throws(() => readEvent(new HandlerRequest(call)), status(400));
  }
});

test('the mock takes what the platform would, and refuses with words', () => {
  const { events, recorded } = createMockHostBindings();
  events.publish('a.b', new Uint8Array(65_536));
  events.publish('a'.repeat(200), '');
  for (const [topic, payload] of [['', ''], ['a..b', ''], ['a\n', ''], ['a'.repeat(201), ''], ['a', 'x'.repeat(65_537)]]) {
    assert.throws(
      () => events.publish(topic, payload),
      (error) => error instanceof HostError && error.code === 'refused' && /characters|bytes/.test(error.message),
    );
  }
  assert.equal(recorded.events.length, 2);
});
