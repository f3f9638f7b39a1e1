// The sandbox's own Elements: Stripe(key).elements().create("card"), confirmCardSetup, confirmCardPayment.
// The fields live in a frame of the sandbox's origin: the page that includes this script never sees a card.
(() => {
  const origin = new URL(document.currentScript.src).origin;

  function frame(path) {
    const made = document.createElement("iframe");
    made.src = origin + path;
    made.title = "Secure card form";
    made.referrerPolicy = "origin";
    made.style.cssText = "width:100%;height:48px;border:0;";
    return made;
  }

  class CardElement {
    constructor() {
      this.listeners = {};
      this.waiting = new Map();
      this.frame = frame("/elements/frame");
      this.ready = new Promise(resolve => { this.isReady = resolve; });
      this.count = 0;
      addEventListener("message", event => {
        if (event.source !== this.frame.contentWindow || event.origin !== origin || event.data.farebox !== "elements") return;
        if (event.data.event === "ready") this.isReady();
        if (event.data.event) (this.listeners[event.data.event] || []).forEach(listener => listener(event.data.value || {}));
        const answer = this.waiting.get(event.data.call);
        if (answer) { this.waiting.delete(event.data.call); answer(event.data.result); }
      });
    }
    mount(where) {
      const place = typeof where === "string" ? document.querySelector(where) : where;
      if (!place) throw new Error("The element to mount the card in does not exist: " + where);
      place.replaceChildren(this.frame);
    }
    unmount() { this.frame.remove(); }
    destroy() { this.frame.remove(); }
    on(name, listener) { (this.listeners[name] ||= []).push(listener); return this; }
    clear() { return this.ask({ verb: "clear" }); }
    async ask(message) {
      await this.ready;
      const call = ++this.count;
      return new Promise(resolve => {
        this.waiting.set(call, resolve);
        this.frame.contentWindow.postMessage({ ...message, call }, origin);
      });
    }
  }

  // 3-D Secure in a frame above the page; resolves when the person has answered.
  function challenge(url) {
    return new Promise(resolve => {
      const cover = document.createElement("div");
      cover.style.cssText = "position:fixed;inset:0;z-index:2147483647;background:rgb(0 0 0 / 45%);display:grid;place-items:center;";
      const inner = document.createElement("iframe");
      inner.src = url;
      inner.title = "3-D Secure";
      inner.style.cssText = "width:min(30rem,94vw);height:26rem;border:0;border-radius:14px;background:#f3f5f9;";
      cover.append(inner);
      const done = event => {
        if (event.source !== inner.contentWindow || event.origin !== origin || event.data.farebox !== "3d-secure") return;
        removeEventListener("message", done);
        cover.remove();
        resolve();
      };
      addEventListener("message", done);
      document.body.append(cover);
    });
  }

  class SandboxStripe {
    constructor(key) {
      if (!/^pk_test_/.test(key)) throw new Error("The sandbox takes its own publishable key, pk_test_….");
      this.key = key;
    }
    elements() { return { create(type) { if (type !== "card") throw new Error("The sandbox has the card element."); return new CardElement(); } }; }
    async helper() {
      if (!this.hidden) {
        this.hidden = new CardElement();
        this.hidden.frame.style.display = "none";
        document.body.append(this.hidden.frame);
      }
      return this.hidden;
    }
    async createPaymentMethod({ card, billing_details } = {}) { return card.ask({ verb: "create", key: this.key, billing: billing_details }); }
    async confirm(noun, secret, data = {}, options = {}) {
      const given = data.payment_method;
      const typed = given && typeof given === "object";
      const element = typed ? given.card : await this.helper();
      let { intent, error } = await element.ask({ verb: "confirm", key: this.key, secret, method: typed ? undefined : given, billing: typed ? given.billing_details : undefined });
      if (!error && intent.status === "requires_action" && options.handleActions !== false) {
        await challenge(intent.next_action.use_stripe_sdk.stripe_js);
        ({ intent, error } = await element.ask({ verb: "retrieve", key: this.key, secret }));
        if (!error) error = intent.status === "requires_payment_method" ? (intent.last_setup_error || intent.last_payment_error) : undefined;
      }
      return error ? { error } : { [noun]: intent };
    }
    confirmCardSetup(secret, data, options) { return this.confirm("setupIntent", secret, data, options); }
    confirmCardPayment(secret, data, options) { return this.confirm("paymentIntent", secret, data, options); }
    async retrieveSetupIntent(secret) { const { intent, error } = await (await this.helper()).ask({ verb: "retrieve", key: this.key, secret }); return error ? { error } : { setupIntent: intent }; }
    async retrievePaymentIntent(secret) { const { intent, error } = await (await this.helper()).ask({ verb: "retrieve", key: this.key, secret }); return error ? { error } : { paymentIntent: intent }; }
  }
  window.Stripe = key => new SandboxStripe(key);
})();
