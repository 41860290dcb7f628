// Shows what the host wrote into the address of this frame.

const query = new URLSearchParams(location.search);

show('extension-id', query.get('extensionId') ?? 'opened without an extension');
show('path', query.get('path') ?? '/');

function show(id, text) {
  document.getElementById(id).textContent = text;
}
