// Replaces the sections that changed, so that a reader's selection and place stay.
const live = document.getElementById("live");
const events = new EventSource("events");
events.onmessage = (e) => {
  const fresh = new DOMParser().parseFromString(JSON.parse(e.data), "text/html");
  for (const section of fresh.querySelectorAll("body > [id]")) {
    const old = document.getElementById(section.id);
    if (old && old.outerHTML !== section.outerHTML) old.replaceWith(document.adoptNode(section));
  }
  live.textContent = "live";
  document.documentElement.classList.remove("lost");
};
events.onerror = () => {
  live.textContent = "no answer: these are the last figures";
  document.documentElement.classList.add("lost");
};
