# ruff: noqa: RUF001 - quotation marks and dashes are as each language writes them
"""The words of papers, in each language that we write: English, German, French, Spanish. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """One language. Braces are filled in; amounts and dates are written by Babel."""

    invoice: str
    credit_note: str
    draft: str
    seller: str
    buyer: str
    number: str
    issued: str
    due: str
    period: str
    of_invoice: str
    reason: str
    tax_id: str
    item: str
    quantity: str
    amount: str
    subtotal: str
    tax: str
    tax_on: str
    total: str
    credits_used: str
    amount_due: str
    credited: str
    included_tax: str
    correction: str
    trial: str
    paused: str
    unpriced: str
    above: str
    up_to: str
    between: str
    share: str
    reverse_charge: str
    exempt: str
    terms: str
    charged: str
    transfer: str
    nothing_due: str
    balance: str
    taken_off: str
    returned: str
    to_balance: str
    to_refund: str
    usage: str
    excluded: str
    proof: str
    counted: str
    lost: str
    none_lost: str
    read_until: str
    retired: str
    digest: str
    verify: str
    page: str
    states: Mapping[str, str]
    open: str
    pay: str
    download: str
    paid: str
    not_found: str
    not_found_hint: str
    expired: str
    expired_hint: str
    cannot_pay: str
    back: str
    back_hint: str


ENGLISH: Final = Words(
    invoice="Invoice",
    credit_note="Credit note",
    draft="Draft",
    seller="From",
    buyer="To",
    number="Number",
    issued="Date",
    due="Due",
    period="Period",
    of_invoice="For invoice",
    reason="Reason",
    tax_id="Tax number",
    item="Item",
    quantity="Quantity",
    amount="Amount",
    subtotal="Subtotal",
    tax="{name} {rate} %",
    tax_on="on {base}",
    total="Total",
    credits_used="Credits used",
    amount_due="Amount due",
    credited="Credited in all",
    included_tax="Included in these prices: {taxes}",
    correction="Correction of {period}: {what}",
    trial="Trial: nothing is charged",
    paused="Paused: nothing is charged",
    unpriced="Usage that the plan does not charge for",
    above="above {above}",
    up_to="up to {up_to}",
    between="{above} to {up_to}",
    share="{share} of a full period",
    reverse_charge="Reverse charge: the customer owes the tax (Article 196, Directive 2006/112/EC).",
    exempt="No {name} is levied: the customer is exempt.",
    terms="Payable by {due}, {days} days from the date of this invoice.",
    charged="The amount is charged to your saved payment method.",
    transfer="Please name the number {number} when you pay.",
    nothing_due="Nothing is due.",
    balance="The amount is kept as balance and pays your next invoices.",
    taken_off="Taken off invoice {invoice}: {amount}.",
    returned="Returned to the credits that had paid: {amount}.",
    to_balance="Kept as balance for your next invoices: {amount}.",
    to_refund="Refunded to your payment method: {amount}.",
    usage="Metered: {units} units in {requests} requests, of which {billable} units are billable.",
    excluded="Not billed: {reasons}.",
    proof="Completeness",
    counted="Counted: log streams {streams}, stretches of raw log {segments}.",
    lost="Missing lines: {missing}; unreadable lines: {quarantined}. Nothing is charged for them.",
    none_lost="No line is missing and none was unreadable.",
    read_until="Read to the end: {nodes}.",
    retired="Given up before they were read to the end: {nodes}.",
    digest="Statement (SHA-256)",
    verify="Anyone can derive this invoice again from the raw log lines: farebox verify.",
    page="Page {page} of {pages}",
    states=MappingProxyType(
        {
            "finalized": "Open", "paid": "Paid", "overdue": "Overdue", "void": "Void",
            "uncollectible": "Given up",
        }
    ),
    open="Still open",
    pay="Pay {amount}",
    download="Download PDF",
    paid="Paid so far",
    not_found="This link does not open an invoice",
    not_found_hint="It may be cut off or misspelled. Open it from the mail again, or ask who sent it.",
    expired="This link is too old",
    expired_hint="Links to invoices hold for 90 days. After logging in, the owner finds every invoice.",
    cannot_pay="It cannot be paid here just now. Nothing was charged; please try again in a minute.",
    back="Back from paying",
    back_hint="If you paid, a receipt comes by mail. You can close this page.",
)  # fmt: skip
GERMAN: Final = Words(
    invoice="Rechnung",
    credit_note="Rechnungskorrektur",
    draft="Entwurf",
    seller="Von",
    buyer="An",
    number="Nummer",
    issued="Datum",
    due="Fällig",
    period="Zeitraum",
    of_invoice="Zu Rechnung",
    reason="Grund",
    tax_id="USt-IdNr. / Steuernummer",
    item="Posten",
    quantity="Menge",
    amount="Betrag",
    subtotal="Zwischensumme",
    tax="{name} {rate} %",
    tax_on="auf {base}",
    total="Gesamtbetrag",
    credits_used="Eingesetztes Guthaben",
    amount_due="Zahlbetrag",
    credited="Gutgeschrieben",
    included_tax="In diesen Preisen enthalten: {taxes}",
    correction="Korrektur für {period}: {what}",
    trial="Testphase: ohne Berechnung",
    paused="Pausiert: ohne Berechnung",
    unpriced="Nutzung, die der Tarif nicht berechnet",
    above="über {above}",
    up_to="bis {up_to}",
    between="{above} bis {up_to}",
    share="{share} eines vollen Zeitraums",
    reverse_charge="Steuerschuldnerschaft des Leistungsempfängers (Artikel 196 der Richtlinie 2006/112/EG).",
    exempt="Ohne {name}: Der Kunde ist von der Steuer befreit.",
    terms="Zahlbar bis {due}, {days} Tage ab Rechnungsdatum.",
    charged="Der Betrag wird mit Ihrem hinterlegten Zahlungsmittel eingezogen.",
    transfer="Bitte geben Sie bei der Zahlung die Nummer {number} an.",
    nothing_due="Es ist nichts zu zahlen.",
    balance="Der Betrag bleibt als Guthaben und zahlt Ihre nächsten Rechnungen.",
    taken_off="Von Rechnung {invoice} abgezogen: {amount}.",
    returned="Auf das eingesetzte Guthaben zurückgebucht: {amount}.",
    to_balance="Als Guthaben für Ihre nächsten Rechnungen: {amount}.",
    to_refund="Auf Ihr Zahlungsmittel erstattet: {amount}.",
    usage="Gemessen: {units} Einheiten in {requests} Anfragen, davon {billable} Einheiten berechenbar.",
    excluded="Nicht berechnet: {reasons}.",
    proof="Vollständigkeit",
    counted="Gezählt: Protokollströme {streams}, Abschnitte des Rohprotokolls {segments}.",
    lost="Fehlende Zeilen: {missing}; unlesbare Zeilen: {quarantined}. Sie werden nicht berechnet.",
    none_lost="Keine Zeile fehlt, keine war unlesbar.",
    read_until="Bis zum Ende gelesen: {nodes}.",
    retired="Vor dem Ende aufgegeben: {nodes}.",
    digest="Nachweis (SHA-256)",
    verify="Diese Rechnung lässt sich aus den Rohzeilen neu herleiten: farebox verify.",
    page="Seite {page} von {pages}",
    states=MappingProxyType(
        {
            "finalized": "Offen", "paid": "Bezahlt", "overdue": "Überfällig", "void": "Storniert",
            "uncollectible": "Aufgegeben",
        }
    ),
    open="Noch offen",
    pay="{amount} bezahlen",
    download="PDF herunterladen",
    paid="Bisher bezahlt",
    not_found="Dieser Link öffnet keine Rechnung",
    not_found_hint="Vielleicht ist er abgeschnitten. Öffnen Sie ihn erneut aus der E-Mail.",
    expired="Dieser Link ist zu alt",
    expired_hint="Links zu Rechnungen gelten 90 Tage. Nach der Anmeldung finden Sie jede Rechnung.",
    cannot_pay="Die Zahlung ist gerade nicht möglich. Es wurde nichts abgebucht; bitte gleich noch einmal.",
    back="Zurück von der Zahlung",
    back_hint="Wenn Sie bezahlt haben, kommt eine Quittung per E-Mail. Sie können diese Seite schließen.",
)  # fmt: skip
FRENCH: Final = Words(
    invoice="Facture",
    credit_note="Avoir",
    draft="Brouillon",
    seller="De",
    buyer="À",
    number="Numéro",
    issued="Date",
    due="Échéance",
    period="Période",
    of_invoice="Pour la facture",
    reason="Motif",
    tax_id="N° de TVA",
    item="Désignation",
    quantity="Quantité",
    amount="Montant",
    subtotal="Sous-total",
    tax="{name} {rate} %",
    tax_on="sur {base}",
    total="Total",
    credits_used="Crédits utilisés",
    amount_due="Montant à payer",
    credited="Montant crédité",
    included_tax="Comprise dans ces prix : {taxes}",
    correction="Correction de {period} : {what}",
    trial="Essai : rien n’est facturé",
    paused="En pause : rien n’est facturé",
    unpriced="Utilisation que le forfait ne facture pas",
    above="au-delà de {above}",
    up_to="jusqu’à {up_to}",
    between="de {above} à {up_to}",
    share="{share} d’une période entière",
    reverse_charge="Autoliquidation : taxe due par le preneur (article 196 de la directive 2006/112/CE).",
    exempt="Sans {name} : le client est exonéré.",
    terms="À payer avant le {due}, {days} jours à compter de la date de facture.",
    charged="Le montant est prélevé sur votre moyen de paiement enregistré.",
    transfer="Merci d’indiquer le numéro {number} lors du paiement.",
    nothing_due="Rien n’est dû.",
    balance="Le montant est conservé en solde et paiera vos prochaines factures.",
    taken_off="Déduit de la facture {invoice} : {amount}.",
    returned="Rendu aux crédits utilisés : {amount}.",
    to_balance="Conservé en solde pour vos prochaines factures : {amount}.",
    to_refund="Remboursé sur votre moyen de paiement : {amount}.",
    usage="Mesuré : {units} unités en {requests} requêtes, dont {billable} unités facturables.",
    excluded="Non facturé : {reasons}.",
    proof="Exhaustivité",
    counted="Comptés : flux {streams}, segments du journal brut {segments}.",
    lost="Lignes manquantes : {missing} ; lignes illisibles : {quarantined}. Elles ne sont pas facturées.",
    none_lost="Aucune ligne ne manque, aucune n’était illisible.",
    read_until="Lu jusqu’au bout : {nodes}.",
    retired="Abandonné avant la fin : {nodes}.",
    digest="Attestation (SHA-256)",
    verify="Chacun peut recalculer cette facture à partir du journal brut : farebox verify.",
    page="Page {page} sur {pages}",
    states=MappingProxyType(
        {
            "finalized": "À payer", "paid": "Payée", "overdue": "En retard", "void": "Annulée",
            "uncollectible": "Abandonnée",
        }
    ),
    open="Reste à payer",
    pay="Payer {amount}",
    download="Télécharger le PDF",
    paid="Déjà payé",
    not_found="Ce lien n’ouvre aucune facture",
    not_found_hint="Il est peut-être incomplet. Ouvrez-le de nouveau depuis le message.",
    expired="Ce lien est trop ancien",
    expired_hint="Ces liens sont valables 90 jours. Après connexion, vous retrouvez toutes vos factures.",
    cannot_pay="Le paiement est impossible pour le moment. Rien n’a été débité ; réessayez dans un instant.",
    back="Retour du paiement",
    back_hint="Si vous avez payé, un reçu arrive par e-mail. Vous pouvez fermer cette page.",
)  # fmt: skip
SPANISH: Final = Words(
    invoice="Factura",
    credit_note="Factura rectificativa (abono)",
    draft="Borrador",
    seller="De",
    buyer="Para",
    number="Número",
    issued="Fecha",
    due="Vencimiento",
    period="Periodo",
    of_invoice="De la factura",
    reason="Motivo",
    tax_id="NIF / N.º de IVA",
    item="Concepto",
    quantity="Cantidad",
    amount="Importe",
    subtotal="Subtotal",
    tax="{name} {rate} %",
    tax_on="sobre {base}",
    total="Total",
    credits_used="Créditos utilizados",
    amount_due="Importe a pagar",
    credited="Total abonado",
    included_tax="Incluido en estos precios: {taxes}",
    correction="Corrección de {period}: {what}",
    trial="Prueba: no se cobra nada",
    paused="En pausa: no se cobra nada",
    unpriced="Uso que el plan no cobra",
    above="más de {above}",
    up_to="hasta {up_to}",
    between="de {above} a {up_to}",
    share="{share} de un periodo completo",
    reverse_charge="Inversión del sujeto pasivo (artículo 196 de la Directiva 2006/112/CE).",
    exempt="Sin {name}: el cliente está exento.",
    terms="A pagar antes del {due}, {days} días desde la fecha de factura.",
    charged="El importe se carga en su medio de pago guardado.",
    transfer="Indique el número {number} al pagar.",
    nothing_due="No hay nada que pagar.",
    balance="El importe queda como saldo y pagará sus próximas facturas.",
    taken_off="Descontado de la factura {invoice}: {amount}.",
    returned="Devuelto a los créditos utilizados: {amount}.",
    to_balance="Guardado como saldo para sus próximas facturas: {amount}.",
    to_refund="Reembolsado en su medio de pago: {amount}.",
    usage="Medido: {units} unidades en {requests} peticiones, de ellas {billable} unidades facturables.",
    excluded="No facturado: {reasons}.",
    proof="Integridad",
    counted="Contados: flujos {streams}, tramos del registro sin procesar {segments}.",
    lost="Líneas que faltan: {missing}; líneas ilegibles: {quarantined}. No se cobran.",
    none_lost="No falta ninguna línea y ninguna era ilegible.",
    read_until="Leído hasta el final: {nodes}.",
    retired="Abandonado antes del final: {nodes}.",
    digest="Declaración (SHA-256)",
    verify="Cualquiera puede volver a calcular esta factura desde el registro: farebox verify.",
    page="Página {page} de {pages}",
    states=MappingProxyType(
        {
            "finalized": "Pendiente", "paid": "Pagada", "overdue": "Vencida", "void": "Anulada",
            "uncollectible": "Abandonada",
        }
    ),
    open="Pendiente de pago",
    pay="Pagar {amount}",
    download="Descargar PDF",
    paid="Pagado hasta ahora",
    not_found="Este enlace no abre ninguna factura",
    not_found_hint="Puede estar incompleto. Ábralo de nuevo desde el correo.",
    expired="Este enlace es demasiado antiguo",
    expired_hint="Los enlaces valen 90 días. Tras iniciar sesión encontrará todas sus facturas.",
    cannot_pay="Ahora no se puede pagar. No se ha cobrado nada; inténtelo de nuevo en un momento.",
    back="De vuelta del pago",
    back_hint="Si ha pagado, recibirá un recibo por correo. Puede cerrar esta página.",
)  # fmt: skip
WORDS: Final[Mapping[str, Words]] = MappingProxyType(
    {"en": ENGLISH, "de": GERMAN, "fr": FRENCH, "es": SPANISH}
)
