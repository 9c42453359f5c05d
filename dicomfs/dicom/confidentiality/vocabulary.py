"""Words of pathology that tell what a slide shows and never whose it is.

Free text is cleaned by keeping these words and no others (PS3.15 E.3.4 and E.3.5 leave the way of
cleaning open): whatever is no known stain, tissue, procedure or imaging term goes, names and
numbers among it.  Knows no attributes.
"""

from __future__ import annotations

import re
from collections.abc import Container

_KNOWN = """
    and at by for from in left level lower of on or right section sections slide slides slice
    stained staining stain stains the to upper whole with without unstained control positive
    negative block biopsy core needle punch excision resection smear cytology cytospin touch imprint
    aspirate fine tissue specimen sample part frozen fixed fixation embedded embedding paraffin
    formalin formaldehyde neutral buffered alcohol ethanol methanol bouin ffpe oct glutaraldehyde
    decalcified decalcification processing collection sectioning mounting mounted coverslip
    microtome cryosection thin micrometer deparaffinized antigen retrieval

    hematoxylin haematoxylin eosin h&e he h+e hes phloxine saffron giemsa wright
    papanicolaou pap pas trichrome masson gomori reticulin silver methenamine grocott gms congo red
    alcian blue toluidine luxol fast nissl oil sudan perls prussian iron mucicarmine elastic
    verhoeff van gieson picrosirius sirius gram ziehl neelsen acid schiff periodic diastase safranin
    crystal violet cresyl warthin starry nuclear counterstain methyl green dab aec
    immunohistochemistry immunohistochemical immunofluorescence ihc ish fish cish dish rnascope
    antibody antibodies probe chromogen diaminobenzidine fluorescent fluorescence dapi hoechst fitc
    tritc cy3 cy5 cy7 gfp rfp texas autofluorescence multiplex

    ki67 ki-67 mib1 p53 p16 p40 p63 her2 erbb2 er pr ar estrogen oestrogen progesterone androgen
    receptor cd3 cd4 cd5 cd8 cd10 cd15 cd19 cd20 cd21 cd23 cd30 cd31 cd34 cd38 cd43 cd45 cd56 cd57
    cd61 cd68 cd79a cd99 cd117 cd138 cd163 pd1 pd-1 pdl1 pd-l1 foxp3 panck ck cytokeratin ck5 ck7
    ck20 ae1 ae3 ae1/ae3 ema vimentin desmin actin sma s100 sox10 melan-a melana hmb45 ttf1 ttf-1
    napsin gata3 cdx2 psa chromogranin synaptophysin calretinin wt1 bcl2 bcl6 bcl-2 bcl-6 cyclin
    mlh1 msh2 msh6 pms2 braf alk ros1 gfap idh1 neun olig2 amyloid tau synuclein

    adrenal anus appendix artery bile bladder blood bone brain breast bronchus cartilage caecum
    cecum cerebellum cerebrum cervix colon cord cornea cortex dermis duct duodenum ear endometrium
    epidermis epithelium esophagus oesophagus eye fallopian fat gallbladder ganglion gastric gland
    heart hepatic ileum intestine jejunum kidney larynx ligament limb lip liver lobe lung lymph
    lymphoid marrow medulla meninges mesentery mouth mucosa muscle myocardium nail nasal nerve node
    nodes
    nose oral ovary palate pancreas parathyroid parotid penis peripheral peritoneum pharynx
    pituitary placenta pleura prostate rectum renal retina salivary sinus skin small large
    soft spinal
    spleen stomach submucosa synovium tendon testis thymus thyroid tongue tonsil trachea tube ulcer
    umbilical ureter urethra urinary uterus vagina vein vessel vulva margin sentinel-node

    adenocarcinoma adenoma benign carcinoma cancer cyst ductal dysplasia fibrosis glioma
    granuloma hyperplasia infiltrating inflammation inflammatory invasive leukemia lesion lipoma
    lobular lymphoma malignant melanoma mesothelioma metastasis metastatic myeloma necrosis
    neoplasm nevus normal papillary polyp sarcoma situ squamous tubular tumor tumour urothelial

    brightfield bright field darkfield phase contrast confocal light transmitted illumination
    microscopy microscope image imaging scan scanned digital wsi objective magnification overview
    macro label thumbnail volume pyramid multichannel channel focal plane z-stack stack rgb
    full color colour filter white monochrome epifluorescence
    mouse rat human animal zebrafish rabbit pig dog xenograft organoid research training test
    validation quality
"""

_WORDS = frozenset(_KNOWN.split())

_WORD = re.compile(r"\w+(?:[&+/\-]\w+)*")
_MAGNIFICATION = re.compile(r"\d{1,3}(?:\.\d)?[xX]")


def words_of(text: str) -> list[str]:
    """The words of a text, as they are written."""
    return _WORD.findall(text)


def cleaned(text: str, identifying: Container[str] = ()) -> str:
    """The known words of a text, in order, with a space between them.

    identifying : words, in lower case, that are left out whatever they mean
    """
    kept: list[str] = []
    for word in words_of(text):
        known = word.casefold() in _WORDS or _MAGNIFICATION.fullmatch(word)
        if known and word.casefold() not in identifying:
            kept.append(word)
    return " ".join(kept) if any(len(word) > 1 for word in kept) else ""
